#pragma once

#include "kernels/cuda/attention_tiles.h"

// Attention by tiles, computed in float32 whatever the tokens are stored as.
//
// Scores: warp w of a block has queries 8 w .. 8 w + 7 of the tile, lane l has key l. So a softmax is a reduction over
// a warp, and the 8 queries x 4 blocks of eight keys of a mask are one Philox block for each lane. Included by *.cu
// alone.
namespace steadytune::kernels::cuda {
namespace {

constexpr int warps = 4;
constexpr int threads = warps * warp_size;
constexpr int warp_queries = tile_size / warps;

/// `depth`: columns of a head, rounded up so that lanes share them evenly.
template <int depth>
struct Layout {
  /// Four columns apart modulo the banks, so that lanes that read 16 bytes of different tokens do not meet.
  static constexpr int stride = depth + 4;
  static constexpr int tile = tile_size * stride;
  static constexpr int columns_of_lane = depth / warp_size;
  /// Scores with queries along rows.
  static constexpr int score_stride = tile_size + 4;
};

/// Tokens of a tile into shared memory [32, stride], times a factor; zeros behind the row and behind the head.
template <int depth, typename Scalar>
__device__ void load_tile(const Scalar* from, int64_t token_stride, int head_size, const Tile& tile, float factor,
                          float* to) {
  constexpr int groups = depth / group_size;
  const int size = tile.size();
  for (int i = static_cast<int>(threadIdx.y) * warp_size + static_cast<int>(threadIdx.x); i < tile_size * groups;
       i += threads) {
    const int token = i / groups;
    const int column = i % groups * group_size;
    Group group = {};
    if (token < size && column < head_size) {
      group = load_group(from + (tile.first + tile.begin + token) * token_stride + column, head_size - column);
    }
    for (int j = 0; j < group_size; ++j) {
      group.of[j] *= factor;
    }
    store_whole(to + token * Layout<depth>::stride + column, group);
  }
}

/// products[i] = left[8 warp + i] . right[lane], over tiles in shared memory.
template <int depth>
__device__ __forceinline__ void multiply(const float* left, const float* right, int head_size,
                                         float (&products)[warp_queries]) {
  constexpr int stride = Layout<depth>::stride;
  const float* mine = right + threadIdx.x * stride;
  const float* queries = left + threadIdx.y * warp_queries * stride;
  for (int i = 0; i < warp_queries; ++i) {
    products[i] = 0.0f;
  }
  for (int column = 0; column < head_size; column += 4) {
    const float4 b = *reinterpret_cast<const float4*>(mine + column);
#pragma unroll
    for (int i = 0; i < warp_queries; ++i) {
      const float4 a = *reinterpret_cast<const float4*>(queries + i * stride + column);
      products[i] = fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, fmaf(a.w, b.w, products[i]))));
    }
  }
}

/// sums[i][j] += weights[i] * right[token][lane + 32 j].
template <int depth>
__device__ __forceinline__ void accumulate(const float (&weights)[warp_queries], const float* right, int token,
                                           float (&sums)[warp_queries][Layout<depth>::columns_of_lane]) {
#pragma unroll
  for (int j = 0; j < Layout<depth>::columns_of_lane; ++j) {
    const float value = right[token * Layout<depth>::stride + threadIdx.x + j * warp_size];
#pragma unroll
    for (int i = 0; i < warp_queries; ++i) {
      sums[i][j] = fmaf(weights[i], value, sums[i][j]);
    }
  }
}

__device__ __forceinline__ void read_eight(const float* from, float (&to)[warp_queries]) {
  const Group group = load_whole(from);
  for (int i = 0; i < warp_queries; ++i) {
    to[i] = group.of[i];
  }
}

/// The lane's columns of a token into a row of the batch.
template <int depth, typename Scalar>
__device__ __forceinline__ void store_token(const float (&values)[Layout<depth>::columns_of_lane], float factor,
                                            int head_size, Scalar* to) {
  for (int j = 0; j < Layout<depth>::columns_of_lane; ++j) {
    const int column = static_cast<int>(threadIdx.x) + j * warp_size;
    if (column < head_size) {
      store_float(to[column], values[j] * factor);
    }
  }
}

/// Dropout on the probabilities of a tile of queries and a tile of keys.
class TileDropout {
 public:
  /// `shared` has room for a Philox block for each thread.
  __device__ TileDropout(const DeviceDraw& draw, uint32_t row, int head, uint4* shared)
      : dropout_(draw, row, head), bits_(shared + threadIdx.y * warp_size) {}

  /// Factors of the lane's key and the warp's queries.
  __device__ __forceinline__ void factors(int query_begin, int key_begin, float (&factors)[warp_queries]) const {
    if (!dropout_.drops()) {
      for (int i = 0; i < warp_queries; ++i) {
        factors[i] = 1.0f;
      }
      return;
    }
    constexpr int blocks = tile_size / dropout_block_columns;
    const int lane = threadIdx.x;
    const PhiloxBlock drawn = dropout_.block(query_begin + static_cast<int>(threadIdx.y) * warp_queries + lane / blocks,
                                             key_begin + lane % blocks * dropout_block_columns);
    __syncwarp();
    bits_[lane] = make_uint4(drawn.word[0], drawn.word[1], drawn.word[2], drawn.word[3]);
    __syncwarp();
    const auto* words = reinterpret_cast<const uint32_t*>(bits_);
    const int key = lane % dropout_block_columns;
    for (int i = 0; i < warp_queries; ++i) {
      const uint32_t word = words[(i * blocks + lane / dropout_block_columns) * 4 + key / 2];
      factors[i] = dropout_.factor(dropout_.keeps((word >> (16 * (key % 2))) & 0xFFFFu));
    }
  }

 private:
  ProbabilityDropout dropout_;
  uint4* bits_;
};

/// Probabilities of a tile of queries and a tile of keys, without and with their mask, and the gradients of the masked
/// ones: of the lane's key and the warp's queries.
struct Probabilities {
  float plain[warp_queries];
  float masked[warp_queries];
  float grad[warp_queries];

  /// From scores in `plain`, and gradients in `grad` that lack the factors of dropout. `logsumexp` is that of the
  /// warp's queries; counts(i) says whether the i-th of them exists and sees the lane's key: what does not has no part
  /// in anything.
  template <typename Counts>
  __device__ __forceinline__ void weigh(const float (&factors)[warp_queries], const float* logsumexp,
                                        const Counts& counts) {
    for (int i = 0; i < warp_queries; ++i) {
      plain[i] = counts(i) ? expf(plain[i] - logsumexp[i]) : 0.0f;
      masked[i] = plain[i] * factors[i];
      grad[i] = counts(i) ? grad[i] * factors[i] : 0.0f;
    }
  }
};

}  // namespace
}  // namespace steadytune::kernels::cuda
