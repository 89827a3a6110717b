#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/attention_bfloat16.h"
#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.h"
#include "kernels/cuda/shared_memory.h"

// Attention of bfloat16 by tensor cores: products of bfloat16, summed in float32. What attention itself computes
// (probabilities, gradients of scores) is rounded to bfloat16 where it is a factor of a further product; everything
// else is in float32.
//
// A warp has 16 rows of its block's tile, queries or, for the gradients of keys and values, keys, and meets the 32
// tokens of another tile, which lie along columns. See mma.h for how its lanes share them: four lanes share two rows.
namespace steadytune::kernels::cuda {
namespace {

using c10::BFloat16;

constexpr int warp_rows = 16;
constexpr int warps = tile_size / warp_rows;
constexpr int threads = warps * warp_size;
/// Blocks that a multiprocessor holds at once, by the columns that a warp sums: as many as leave each thread the
/// registers that it needs.
template <int columns>
constexpr int resident_blocks = columns <= 64    ? 8
                                : columns <= 128 ? 6
                                                 : 4;
/// Lanes that share a row.
constexpr int quad = 4;

/// Tokens of a tile in shared memory: their rows begin at boundaries of 16 bytes, and at the same columns eight of them
/// lie in different banks.
template <int depth>
constexpr int stride = depth + group_size;
template <int depth>
constexpr int tile_elements = tile_size * stride<depth>;

/// A lane's share of [16, 32]: one result for each eight columns.
using Products = float[tile_size / 8][4];
/// Of [16, depth].
template <int depth>
using Sums = float[depth / 8][4];

/// Column in [16, 32] of an element of a lane's share.
__device__ __forceinline__ int column_of(int n, int i) { return n * 8 + result_column(i); }

/// Begins to load tokens of a tile into shared memory; zeros behind the row and behind the head.
template <int depth>
__device__ __forceinline__ void load_tile(const BFloat16* from, int64_t token_stride, int head_size, const Tile& tile,
                                          BFloat16* to) {
  constexpr int groups = depth / group_size;
  constexpr int tokens_at_once = threads / groups;
  const int thread = static_cast<int>(threadIdx.y * warp_size + threadIdx.x);
  const int column = thread % groups * group_size;
  const int first = thread / groups;
  const int size = column < head_size ? tile.size() - first : 0;
  const BFloat16* source = from + (tile.first + tile.begin + first) * token_stride + column;
  BFloat16* place = to + first * stride<depth> + column;
  // Whether all groups are whole and begin at boundaries of 16 bytes.
  const bool whole = is_aligned(from) && token_stride % group_size == 0 && head_size % group_size == 0;
  if (whole) {
#pragma unroll
    for (int token = 0; token < tile_size; token += tokens_at_once) {
      copy_async(source + token * token_stride, token < size, place + token * stride<depth>);
    }
    return;
  }
#pragma unroll 1
  for (int token = 0; token < tile_size; token += tokens_at_once) {
    *reinterpret_cast<uint4*>(place + token * stride<depth>) =
        token < size ? load_stored(source + token * token_stride, head_size - column) : make_uint4(0, 0, 0, 0);
  }
}

/// For tiles that the block has begun to load.
__device__ __forceinline__ void wait_for_tiles() {
  wait_for_copies();
  __syncthreads();
}

/// Sixteen rows and columns of a tile, as a left factor.
template <int depth>
__device__ __forceinline__ Fragment left_factor(const BFloat16* tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x);
  return load_matrices(tile + (row + lane % 16) * stride<depth> + column + lane / 16 * 8);
}

/// products = left right^T, with 32 tokens as the rows of `right`. left_at(c) is the left factor that has columns
/// c .. c + 15.
template <int depth, typename LeftAt>
__device__ __forceinline__ void multiply(const LeftAt& left_at, const BFloat16* right, Products& products) {
#pragma unroll
  for (int n = 0; n < tile_size / 8; ++n) {
    for (int i = 0; i < 4; ++i) {
      products[n][i] = 0.0f;
    }
  }
  const int lane = static_cast<int>(threadIdx.x);
  const BFloat16* mine = right + (lane % 8 + lane / 16 * 8) * stride<depth> + lane / 8 % 2 * 8;
#pragma unroll
  for (int column = 0; column < depth; column += 16) {
    const Fragment left = left_at(column);
#pragma unroll
    for (int n = 0; n < tile_size / 8; n += 2) {
      const Fragment both = load_matrices(mine + n * 8 * stride<depth> + column);
      mma_bf16(products[n], left, both.word[0], both.word[1]);
      mma_bf16(products[n + 1], left, both.word[2], both.word[3]);
    }
  }
}

/// sums += weights right, with 32 tokens as the rows of `right`. The weights are rounded.
template <int depth>
__device__ __forceinline__ void accumulate(const Products& weights, const BFloat16* right, Sums<depth>& sums) {
  const int lane = static_cast<int>(threadIdx.x);
  const BFloat16* mine = right + lane % 16 * stride<depth> + lane / 16 * 8;
#pragma unroll
  for (int n = 0; n < tile_size / 8; n += 2) {
    const Fragment left{{rounded_pair(weights[n][0], weights[n][1]), rounded_pair(weights[n][2], weights[n][3]),
                         rounded_pair(weights[n + 1][0], weights[n + 1][1]),
                         rounded_pair(weights[n + 1][2], weights[n + 1][3])}};
#pragma unroll
    for (int j = 0; j < depth / 8; j += 2) {
      const Fragment both = load_transposed(mine + n * 8 * stride<depth> + j * 8);
      mma_bf16(sums[j], left, both.word[0], both.word[1]);
      mma_bf16(sums[j + 1], left, both.word[2], both.word[3]);
    }
  }
}

/// The warp's rows times a factor for each of the lane's two, rounded, into the first `tokens` tokens from `to` on.
/// They go through `staged`, the warp's rows of a tile that no other warp reads, so that whole groups are written.
template <int depth>
__device__ __forceinline__ void store_rows(const Sums<depth>& sums, const float (&factors)[2], int head_size,
                                           int tokens, BFloat16* staged, BFloat16* to, int64_t token_stride) {
  __syncwarp();
#pragma unroll
  for (int j = 0; j < depth / 8; ++j) {
    for (int half = 0; half < 2; ++half) {
      BFloat16* place = staged + result_row(2 * half) * stride<depth> + j * 8 + result_column(0);
      *reinterpret_cast<uint32_t*>(place) =
          bfloat16_bits(sums[j][2 * half] * factors[half]) | bfloat16_bits(sums[j][2 * half + 1] * factors[half]) << 16;
    }
  }
  __syncwarp();
  constexpr int groups = depth / group_size;
  for (int i = static_cast<int>(threadIdx.x); i < warp_rows * groups; i += warp_size) {
    const int token = i / groups;
    const int column = i % groups * group_size;
    if (token < tokens && column < head_size) {
      const uint4 bits = *reinterpret_cast<const uint4*>(staged + token * stride<depth> + column);
      store_stored(to + token * token_stride + column, head_size - column, bits);
    }
  }
}

/// Dropout on a warp's probabilities. Each Philox block is drawn by one lane, which makes one bit of each of its
/// elements, and the others take from there what they need: a lane has its elements' bits in one word.
class WarpDropout {
 public:
  __device__ __forceinline__ WarpDropout(const DeviceDraw& draw, uint32_t row, int head) : dropout_(draw, row, head) {}

  /// What is kept of 16 queries along rows and 32 keys along columns.
  __device__ __forceinline__ uint32_t of_queries(int query_begin, int key_begin) const {
    // A lane draws for its two rows and every fourth group of eight keys.
    const int lane = static_cast<int>(threadIdx.x);
    const int first_key = key_begin + lane % quad * dropout_block_columns;
    const uint32_t drawn = kept_bits(query_begin + result_row(0), first_key) |
                           kept_bits(query_begin + result_row(2), first_key) << dropout_block_columns;
    uint32_t kept = 0;
#pragma unroll
    for (int n = 0; n < tile_size / 8; ++n) {
      const uint32_t of_keys = __shfl_sync(whole_warp, drawn, lane / quad * quad + n) >> result_column(0);
      kept |= ((of_keys & 3u) | ((of_keys >> dropout_block_columns) & 3u) << 2) << (4 * n);
    }
    return kept;
  }

  /// The same of 16 keys along rows and 32 queries along columns.
  __device__ __forceinline__ uint32_t of_keys(int query_begin, int key_begin) const {
    // A lane draws for one query and all keys.
    const int query = query_begin + static_cast<int>(threadIdx.x);
    const uint32_t drawn = kept_bits(query, key_begin) | kept_bits(query, key_begin + dropout_block_columns)
                                                             << dropout_block_columns;
    uint32_t kept = 0;
#pragma unroll
    for (int n = 0; n < tile_size / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t of_query = __shfl_sync(whole_warp, drawn, column_of(n, i)) >> result_row(0);
        kept |= ((of_query & 1u) | ((of_query >> dropout_block_columns) & 1u) << 2) << (4 * n + i);
      }
    }
    return kept;
  }

  /// Of one element of the lane's share.
  __device__ __forceinline__ float factor(uint32_t kept, int n, int i) const {
    return dropout_.factor((kept & (1u << (4 * n + i))) != 0);
  }

 private:
  /// Bit i: of the i-th key from key_begin on.
  __device__ __forceinline__ uint32_t kept_bits(int query, int key_begin) const {
    if (!dropout_.drops()) {
      return 0xFFu;
    }
    const PhiloxBlock drawn = dropout_.block(query, key_begin);
    uint32_t bits = 0;
#pragma unroll
    for (int i = 0; i < dropout_block_columns; ++i) {
      bits |= (dropout_.keeps(philox_lane(drawn, i)) ? 1u : 0u) << i;
    }
    return bits;
  }

  ProbabilityDropout dropout_;
};

/// Turns products of queries and keys into probabilities, and products of the output's gradients and values into the
/// gradients of the masked probabilities, by their factors. logsumexp_of(n, i) is that of an element's query, and
/// counts(n, i) says whether that exists and sees the element's key: what does not has no part in anything.
template <typename FactorOf, typename LogsumexpOf, typename Counts>
__device__ __forceinline__ void weigh(float scale, const FactorOf& factor_of, const LogsumexpOf& logsumexp_of,
                                      const Counts& counts, Products& probabilities, Products& grads) {
#pragma unroll
  for (int n = 0; n < tile_size / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool counted = counts(n, i);
      probabilities[n][i] = counted ? expf(probabilities[n][i] * scale - logsumexp_of(n, i)) : 0.0f;
      grads[n][i] = counted ? grads[n][i] * factor_of(n, i) : 0.0f;
    }
  }
}

template <int depth>
constexpr size_t forward_bytes() {
  return 3 * tile_elements<depth> * sizeof(BFloat16);
}

template <int depth>
__global__ void __launch_bounds__(threads, resident_blocks<depth>)
    attention_kernel(const AttentionBatch batch, const DeviceDraw draw, const AttentionTokens<const BFloat16> tokens,
                     BFloat16* output, float* logsumexp) {
  const Tile tile = find_tile(batch, static_cast<int>(blockIdx.x));
  if (!tile.exists()) {
    return;
  }
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(batch.head_size);
  const int64_t hidden = batch.heads * batch.head_size;
  const int in_tile = static_cast<int>(threadIdx.y) * warp_rows;
  const int query_begin = tile.begin + in_tile;
  const int queries = tile.length - query_begin;
  BFloat16* target = output + (tile.first + query_begin) * hidden + head * head_size;
  float* denominators = logsumexp + head * batch.tokens + tile.first + query_begin;
  auto* query = reinterpret_cast<BFloat16*>(steadytune_shared_memory);
  BFloat16* staged = query + in_tile * stride<depth>;
  BFloat16* key = query + tile_elements<depth>;
  BFloat16* value = key + tile_elements<depth>;
  Sums<depth> sums = {};
  if (tile.filler) {
    store_rows<depth>(sums, {0.0f, 0.0f}, head_size, queries, staged, target, hidden);
    if (threadIdx.x < warp_rows && static_cast<int>(threadIdx.x) < queries) {
      denominators[threadIdx.x] = 0.0f;
    }
    return;
  }

  const WarpDropout dropout(draw, tile.row, head);
  const BFloat16* key_source = tokens.key_value + head * head_size;
  const float scale = scale_of(batch);
  load_tile<depth>(tokens.query + head * head_size, tokens.query_stride, head_size, tile, query);
  wait_for_tiles();
  Fragment of_query[depth / 16];
#pragma unroll
  for (int i = 0; i < depth / 16; ++i) {
    of_query[i] = left_factor<depth>(query, in_tile, i * 16);
  }

  // Of the lane's two rows; the denominators are of its own columns alone until the end.
  float largest[2] = {-infinity, -infinity};
  float denominator[2] = {0.0f, 0.0f};
  const int keys = seen_by_tile(batch, tile);
  for (int key_begin = 0; key_begin < keys; key_begin += tile_size) {
    __syncthreads();
    load_tile<depth>(key_source, tokens.key_value_stride, head_size, tile_at(tile, key_begin), key);
    load_tile<depth>(key_source + hidden, tokens.key_value_stride, head_size, tile_at(tile, key_begin), value);
    // While the copies are under way.
    const uint32_t kept = dropout.of_queries(query_begin, key_begin);
    wait_for_tiles();
    if (queries <= 0) {
      continue;
    }
    Products weights;
    multiply<depth>([&](int column) { return of_query[column / 16]; }, key, weights);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int end = seen(batch, tile, query_begin + result_row(2 * half)) - key_begin;
      const float before = largest[half];
      float most = before;
#pragma unroll
      for (int n = 0; n < tile_size / 8; ++n) {
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          weights[n][i] = column_of(n, i) < end ? weights[n][i] * scale : -infinity;
          most = fmaxf(most, weights[n][i]);
        }
      }
      most = warp_max<quad>(most);
      const float shrink = expf(before - most);
      float sum = 0.0f;
#pragma unroll
      for (int n = 0; n < tile_size / 8; ++n) {
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          const float weight = expf(weights[n][i] - most);
          sum += weight;
          weights[n][i] = weight * dropout.factor(kept, n, i);
        }
      }
      largest[half] = most;
      denominator[half] = fmaf(denominator[half], shrink, sum);
#pragma unroll
      for (int j = 0; j < depth / 8; ++j) {
        sums[j][2 * half] *= shrink;
        sums[j][2 * half + 1] *= shrink;
      }
    }
    accumulate<depth>(weights, value, sums);
  }
  float inverse[2];
  for (int half = 0; half < 2; ++half) {
    denominator[half] = warp_sum<quad>(denominator[half]);
    inverse[half] = 1.0f / denominator[half];
    const int row = result_row(2 * half);
    if (threadIdx.x % quad == 0 && row < queries) {
      denominators[row] = largest[half] + logf(denominator[half]);
    }
  }
  store_rows<depth>(sums, inverse, head_size, queries, staged, target, hidden);
}

template <int depth>
constexpr size_t backward_queries_bytes() {
  return 4 * tile_elements<depth> * sizeof(BFloat16);
}

/// The gradient of the queries, and for each query mean = sum(P mask dP): the gradients of its scores are
/// P (mask dP - mean). The sum is taken from the probabilities rather than from output . grad_output, as on the CPU.
template <int depth>
__global__ void __launch_bounds__(threads, resident_blocks<depth>)
    attention_backward_queries_kernel(const AttentionBatch batch, const DeviceDraw draw, const BFloat16* grad_output,
                                      const AttentionTokens<const BFloat16> tokens, const float* logsumexp,
                                      float* means, const AttentionTokens<BFloat16> target) {
  const Tile tile = find_tile(batch, static_cast<int>(blockIdx.x));
  if (!tile.exists()) {
    return;
  }
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(batch.head_size);
  const int64_t hidden = batch.heads * batch.head_size;
  const int in_tile = static_cast<int>(threadIdx.y) * warp_rows;
  const int query_begin = tile.begin + in_tile;
  const int queries = tile.length - query_begin;
  BFloat16* grad_query = target.query + (tile.first + query_begin) * target.query_stride + head * head_size;
  auto* query = reinterpret_cast<BFloat16*>(steadytune_shared_memory);
  BFloat16* staged = query + in_tile * stride<depth>;
  BFloat16* grad = query + tile_elements<depth>;
  BFloat16* key = grad + tile_elements<depth>;
  BFloat16* value = key + tile_elements<depth>;
  Sums<depth> sums = {};
  if (tile.filler) {
    BFloat16* grad_key = target.key_value + (tile.first + query_begin) * target.key_value_stride + head * head_size;
    store_rows<depth>(sums, {0.0f, 0.0f}, head_size, queries, staged, grad_query, target.query_stride);
    store_rows<depth>(sums, {0.0f, 0.0f}, head_size, queries, staged, grad_key, target.key_value_stride);
    store_rows<depth>(sums, {0.0f, 0.0f}, head_size, queries, staged, grad_key + hidden, target.key_value_stride);
    return;
  }

  const WarpDropout dropout(draw, tile.row, head);
  const BFloat16* key_source = tokens.key_value + head * head_size;
  const float scale = scale_of(batch);
  load_tile<depth>(tokens.query + head * head_size, tokens.query_stride, head_size, tile, query);
  load_tile<depth>(grad_output + head * head_size, hidden, head_size, tile, grad);
  const int64_t tokens_begin = head * batch.tokens + tile.first + query_begin;
  float denominators[2];
  int ends[2];
  for (int half = 0; half < 2; ++half) {
    const int row = result_row(2 * half);
    denominators[half] = row < queries ? logsumexp[tokens_begin + row] : 0.0f;
    ends[half] = row < queries ? seen(batch, tile, query_begin + row) : 0;
  }

  const int keys = seen_by_tile(batch, tile);
  Products probabilities = {};
  Products grads = {};
  const auto visit = [&](int key_begin) {
    __syncthreads();
    load_tile<depth>(key_source, tokens.key_value_stride, head_size, tile_at(tile, key_begin), key);
    load_tile<depth>(key_source + hidden, tokens.key_value_stride, head_size, tile_at(tile, key_begin), value);
    // While the copies are under way.
    const uint32_t kept = dropout.of_queries(query_begin, key_begin);
    wait_for_tiles();
    if (queries <= 0) {
      return;
    }
    multiply<depth>([&](int column) { return left_factor<depth>(query, in_tile, column); }, key, probabilities);
    multiply<depth>([&](int column) { return left_factor<depth>(grad, in_tile, column); }, value, grads);
    weigh(
        scale, [&](int n, int i) { return dropout.factor(kept, n, i); },
        [&](int, int i) { return denominators[i / 2]; },
        [&](int n, int i) { return key_begin + column_of(n, i) < ends[i / 2]; }, probabilities, grads);
  };
  float mean[2] = {0.0f, 0.0f};
  for (int key_begin = 0; key_begin < keys; key_begin += tile_size) {
    visit(key_begin);
#pragma unroll
    for (int n = 0; n < tile_size / 8; ++n) {
      for (int i = 0; i < 4; ++i) {
        mean[i / 2] = fmaf(probabilities[n][i], grads[n][i], mean[i / 2]);
      }
    }
  }
  for (int half = 0; half < 2; ++half) {
    mean[half] = warp_sum<quad>(mean[half]);
    const int row = result_row(2 * half);
    if (threadIdx.x % quad == 0 && row < queries) {
      means[tokens_begin + row] = mean[half];
    }
  }
  for (int key_begin = 0; key_begin < keys; key_begin += tile_size) {
    // A row of one tile still has its probabilities.
    if (keys > tile_size) {
      visit(key_begin);
    }
#pragma unroll
    for (int n = 0; n < tile_size / 8; ++n) {
      for (int i = 0; i < 4; ++i) {
        grads[n][i] = probabilities[n][i] * (grads[n][i] - mean[i / 2]);
      }
    }
    accumulate<depth>(grads, key, sums);
  }
  store_rows<depth>(sums, {scale, scale}, head_size, queries, staged, grad_query, target.query_stride);
}

template <int depth>
constexpr size_t backward_keys_bytes() {
  return 4 * tile_elements<depth> * sizeof(BFloat16) + 2 * tile_size * sizeof(float);
}

/// The gradients of keys and values: a tile of keys meets all queries that see it, in order.
template <int depth>
__global__ void __launch_bounds__(threads, resident_blocks<2 * depth>)
    attention_backward_keys_kernel(const AttentionBatch batch, const DeviceDraw draw, const BFloat16* grad_output,
                                   const AttentionTokens<const BFloat16> tokens, const float* logsumexp,
                                   const float* means, const AttentionTokens<BFloat16> target) {
  const Tile tile = find_tile(batch, static_cast<int>(blockIdx.x));
  if (!tile.exists() || tile.filler) {
    return;
  }
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(batch.head_size);
  const int64_t hidden = batch.heads * batch.head_size;
  const int in_tile = static_cast<int>(threadIdx.y) * warp_rows;
  const int key_begin = tile.begin + in_tile;
  const int keys = tile.length - key_begin;
  auto* key = reinterpret_cast<BFloat16*>(steadytune_shared_memory);
  BFloat16* value = key + tile_elements<depth>;
  BFloat16* query = value + tile_elements<depth>;
  BFloat16* grad = query + tile_elements<depth>;
  // Of the tile of queries.
  auto* denominators = reinterpret_cast<float*>(grad + tile_elements<depth>);
  float* mean = denominators + tile_size;
  const WarpDropout dropout(draw, tile.row, head);
  const BFloat16* key_source = tokens.key_value + head * head_size;
  const int64_t tokens_begin = head * batch.tokens + tile.first;
  const float scale = scale_of(batch);
  load_tile<depth>(key_source, tokens.key_value_stride, head_size, tile, key);
  load_tile<depth>(key_source + hidden, tokens.key_value_stride, head_size, tile, value);

  // That meet the keys of the lane's two rows.
  int first_query[2];
  for (int half = 0; half < 2; ++half) {
    const int position = key_begin + result_row(2 * half);
    first_query[half] = position < tile.length ? (batch.causal ? position : 0) : tile.length;
  }
  Sums<depth> of_key = {};
  Sums<depth> of_value = {};
  for (int begin = batch.causal ? tile.begin : 0; begin < tile.length; begin += tile_size) {
    const Tile queries = tile_at(tile, begin);
    const int lane = static_cast<int>(threadIdx.x);
    __syncthreads();
    load_tile<depth>(tokens.query + head * head_size, tokens.query_stride, head_size, queries, query);
    load_tile<depth>(grad_output + head * head_size, hidden, head_size, queries, grad);
    if (threadIdx.y == 0) {
      const bool exists = lane < queries.size();
      denominators[lane] = exists ? logsumexp[tokens_begin + begin + lane] : 0.0f;
      mean[lane] = exists ? means[tokens_begin + begin + lane] : 0.0f;
    }
    const uint32_t kept = dropout.of_keys(begin, key_begin);
    wait_for_tiles();
    if (keys <= 0) {
      continue;
    }
    Products probabilities;
    Products grads;
    multiply<depth>([&](int column) { return left_factor<depth>(key, in_tile, column); }, query, probabilities);
    multiply<depth>([&](int column) { return left_factor<depth>(value, in_tile, column); }, grad, grads);
    const auto factor_of = [&](int n, int i) { return dropout.factor(kept, n, i); };
    weigh(
        scale, factor_of, [&](int n, int i) { return denominators[column_of(n, i)]; },
        [&](int n, int i) {
          const int query = begin + column_of(n, i);
          return query >= first_query[i / 2] && query < tile.length;
        },
        probabilities, grads);
#pragma unroll
    for (int n = 0; n < tile_size / 8; ++n) {
      for (int i = 0; i < 4; ++i) {
        grads[n][i] = probabilities[n][i] * (grads[n][i] - mean[column_of(n, i)]);
        probabilities[n][i] *= factor_of(n, i);
      }
    }
    accumulate<depth>(probabilities, grad, of_value);
    accumulate<depth>(grads, query, of_key);
  }
  BFloat16* of_keys = target.key_value + (tile.first + key_begin) * target.key_value_stride + head * head_size;
  // Of each tile a warp reads its own rows alone.
  const int own = in_tile * stride<depth>;
  store_rows<depth>(of_key, {scale, scale}, head_size, keys, key + own, of_keys, target.key_value_stride);
  store_rows<depth>(of_value, {1.0f, 1.0f}, head_size, keys, value + own, of_keys + hidden, target.key_value_stride);
}

template <int depth>
cudaError_t forward(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                    const AttentionTokens<const BFloat16>& tokens, BFloat16* output, float* logsumexp) {
  const dim3 blocks(most_tiles(batch.tokens, batch.rows), static_cast<unsigned>(batch.heads));
  return launch(stream, attention_kernel<depth>, blocks, dim3(warp_size, warps), forward_bytes<depth>(), batch, draw,
                tokens, output, logsumexp);
}

template <int depth>
cudaError_t backward(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                     const BFloat16* grad_output, const AttentionTokens<const BFloat16>& tokens, const float* logsumexp,
                     float* means, const AttentionTokens<BFloat16>& grads) {
  const dim3 blocks(most_tiles(batch.tokens, batch.rows), static_cast<unsigned>(batch.heads));
  const dim3 block(warp_size, warps);
  const cudaError_t error =
      launch(stream, attention_backward_queries_kernel<depth>, blocks, block, backward_queries_bytes<depth>(), batch,
             draw, grad_output, tokens, logsumexp, means, grads);
  if (error != cudaSuccess) {
    return error;
  }
  return launch(stream, attention_backward_keys_kernel<depth>, blocks, block, backward_keys_bytes<depth>(), batch, draw,
                grad_output, tokens, logsumexp, static_cast<const float*>(means), grads);
}

}  // namespace

cudaError_t attention_bfloat16(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                               const AttentionTokens<const BFloat16>& tokens, BFloat16* output, float* logsumexp) {
  return batch.head_size <= 64 ? forward<64>(stream, batch, draw, tokens, output, logsumexp)
                               : forward<most_head_size>(stream, batch, draw, tokens, output, logsumexp);
}

cudaError_t attention_backward_bfloat16(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                                        const BFloat16* grad_output, const AttentionTokens<const BFloat16>& tokens,
                                        const float* logsumexp, float* means, const AttentionTokens<BFloat16>& grads) {
  return batch.head_size <= 64
             ? backward<64>(stream, batch, draw, grad_output, tokens, logsumexp, means, grads)
             : backward<most_head_size>(stream, batch, draw, grad_output, tokens, logsumexp, means, grads);
}

}  // namespace steadytune::kernels::cuda
