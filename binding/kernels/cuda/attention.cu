#include "kernels/cuda/elements.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/masks.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/shared_memory.h"

// Attention inside each row of a packed batch, all in float32. A block takes one head and a tile of 32 queries (or, for
// the gradients of keys and values, of 32 keys) and goes through the row's other tokens tile by tile. Blocks are laid
// out for as many tiles as there can be, so the host need not know the offsets; each finds its row on the device.
//
// Scores: warp w of a block has queries 8 w .. 8 w + 7 of the tile, lane l has key l. So a softmax is a reduction over
// a warp, and the 8 queries x 4 blocks of eight keys of a mask are one Philox block for each lane.
namespace steadytune::kernels::cuda {
namespace {

constexpr int tile_size = 32;
constexpr int warps = 4;
constexpr int threads = warps * warp_size;
constexpr int warp_queries = tile_size / warps;
constexpr float infinity = __builtin_huge_valf();

/// Where one row's tokens lie, and a tile of them. Filler tokens behind the last row count as a row without keys.
struct Tile {
  /// Of the data set.
  uint32_t row;
  /// In the batch.
  int first;
  int length;
  /// In the row.
  int begin;
  bool filler;

  __device__ __forceinline__ bool exists() const { return length > 0; }
  __device__ __forceinline__ int size() const { return length - begin < tile_size ? length - begin : tile_size; }
};

/// The tile of this number, counted through all rows; every lane of a warp gets it. One with length 0 is behind the
/// end.
__device__ Tile find_tile(const AttentionBatch& batch, int number) {
  const int lane = threadIdx.x;
  const int rows = static_cast<int>(batch.rows);
  const int tokens = static_cast<int>(batch.tokens);
  for (int first_row = 0; first_row <= rows; first_row += warp_size) {
    const int row = first_row + lane;
    const int begin = row <= rows ? batch.offsets[row] : tokens;
    const int end = row < rows ? batch.offsets[row + 1] : tokens;
    const int tiles = (end - begin + tile_size - 1) / tile_size;
    int upto = tiles;
    for (int distance = 1; distance < warp_size; distance *= 2) {
      const int other = __shfl_up_sync(whole_warp, upto, distance);
      upto += lane >= distance ? other : 0;
    }
    const unsigned holders = __ballot_sync(whole_warp, number >= upto - tiles && number < upto);
    if (holders != 0) {
      const int holder = __ffs(static_cast<int>(holders)) - 1;
      const int first = __shfl_sync(whole_warp, begin, holder);
      const int in_row = number - __shfl_sync(whole_warp, upto - tiles, holder);
      const int length = __shfl_sync(whole_warp, end, holder) - first;
      const int of_batch = first_row + holder;
      const bool filler = of_batch == rows;
      return {filler ? 0u : static_cast<uint32_t>(batch.numbers[of_batch]), first, length, in_row * tile_size, filler};
    }
    number -= __shfl_sync(whole_warp, upto, warp_size - 1);
  }
  return {};
}

/// Tiles that a batch has at most, those of filler included.
unsigned most_tiles(const AttentionBatch& batch) {
  return static_cast<unsigned>(batch.tokens / tile_size + batch.rows + 1);
}

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
      : draw_(counted(draw)), row_(row), head_(static_cast<uint32_t>(head)), bits_(shared + threadIdx.y * warp_size) {}

  /// Factors of the lane's key and the warp's queries.
  __device__ __forceinline__ void factors(int query_begin, int key_begin, float (&factors)[warp_queries]) const {
    if (draw_.threshold == 0) {
      for (int i = 0; i < warp_queries; ++i) {
        factors[i] = 1.0f;
      }
      return;
    }
    constexpr int blocks = tile_size / dropout_block_columns;
    const int lane = threadIdx.x;
    const auto query = static_cast<uint32_t>(query_begin + threadIdx.y * warp_queries + lane / blocks);
    const auto block = static_cast<uint32_t>(key_begin / dropout_block_columns + lane % blocks);
    const PhiloxBlock drawn = philox4x32({{draw_.step, row_, attention_place(head_, query), block}}, draw_.key);
    __syncwarp();
    bits_[lane] = make_uint4(drawn.word[0], drawn.word[1], drawn.word[2], drawn.word[3]);
    __syncwarp();
    const auto* words = reinterpret_cast<const uint32_t*>(bits_);
    const int key = lane % dropout_block_columns;
    for (int i = 0; i < warp_queries; ++i) {
      const uint32_t word = words[(i * blocks + lane / dropout_block_columns) * 4 + key / 2];
      factors[i] = ((word >> (16 * (key % 2))) & 0xFFFFu) >= draw_.threshold ? draw_.scale : 0.0f;
    }
  }

 private:
  DropoutDraw draw_;
  uint32_t row_;
  uint32_t head_;
  uint4* bits_;
};

/// Keys that the query at this position of the row sees.
__device__ __forceinline__ int seen(const AttentionBatch& batch, const Tile& tile, int query) {
  return batch.causal && query < tile.length ? query + 1 : tile.length;
}

/// End of the keys that any query of a tile sees.
__device__ __forceinline__ int seen_by_tile(const AttentionBatch& batch, const Tile& tile) {
  return seen(batch, tile, tile.begin + tile.size() - 1);
}

__device__ __forceinline__ Tile tile_at(const Tile& tile, int begin) {
  Tile other = tile;
  other.begin = begin;
  return other;
}

__device__ __forceinline__ float scale_of(const AttentionBatch& batch) {
  return 1.0f / sqrtf(static_cast<float>(batch.head_size));
}

template <int depth>
constexpr size_t forward_bytes() {
  // Queries, keys, values, probabilities and masks.
  return (3 * Layout<depth>::tile + warps * warp_size * warp_queries) * sizeof(float) + threads * sizeof(uint4);
}

template <int depth, typename Scalar>
__global__ void __launch_bounds__(threads) attention_kernel(const AttentionBatch batch, const DeviceDraw draw,
                                                            const Scalar* qkv, Scalar* output, float* logsumexp) {
  const Tile tile = find_tile(batch, static_cast<int>(blockIdx.x));
  if (!tile.exists()) {
    return;
  }
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(batch.head_size);
  const int64_t hidden = batch.heads * batch.head_size;
  const int query_begin = tile.begin + threadIdx.y * warp_queries;
  Scalar* target = output + (tile.first + query_begin) * hidden + head * head_size;
  float* denominators = logsumexp + head * batch.tokens + tile.first + query_begin;
  float sums[warp_queries][Layout<depth>::columns_of_lane] = {};
  if (tile.filler) {
    for (int i = 0; i < warp_queries && query_begin + i < tile.length; ++i) {
      store_token<depth>(sums[i], 0.0f, head_size, target + i * hidden);
      if (threadIdx.x == 0) {
        denominators[i] = 0.0f;
      }
    }
    return;
  }

  float* query = reinterpret_cast<float*>(steadytune_shared_memory);
  float* key = query + Layout<depth>::tile;
  float* value = key + Layout<depth>::tile;
  // Of this warp: [keys, queries].
  float* probabilities = value + Layout<depth>::tile + threadIdx.y * warp_size * warp_queries;
  auto* bits = reinterpret_cast<uint4*>(value + Layout<depth>::tile + warps * warp_size * warp_queries);
  const TileDropout dropout(draw, tile.row, head, bits);
  const Scalar* source = qkv + head * head_size;
  load_tile<depth>(source, 3 * hidden, head_size, tile, scale_of(batch), query);

  float largest[warp_queries];
  float denominator[warp_queries];
  for (int i = 0; i < warp_queries; ++i) {
    largest[i] = -infinity;
    denominator[i] = 0.0f;
  }
  const int keys = seen_by_tile(batch, tile);
  for (int key_begin = 0; key_begin < keys; key_begin += tile_size) {
    __syncthreads();
    load_tile<depth>(source + hidden, 3 * hidden, head_size, tile_at(tile, key_begin), 1.0f, key);
    load_tile<depth>(source + 2 * hidden, 3 * hidden, head_size, tile_at(tile, key_begin), 1.0f, value);
    __syncthreads();
    if (query_begin >= tile.length) {
      continue;
    }
    float weights[warp_queries];
    multiply<depth>(query, key, head_size, weights);
    float factors[warp_queries];
    dropout.factors(tile.begin, key_begin, factors);
    for (int i = 0; i < warp_queries; ++i) {
      const int position = key_begin + static_cast<int>(threadIdx.x);
      const float score = position < seen(batch, tile, query_begin + i) ? weights[i] : -infinity;
      const float before = largest[i];
      largest[i] = fmaxf(before, warp_max(score));
      const float shrink = expf(before - largest[i]);
      const float weight = expf(score - largest[i]);
      denominator[i] = fmaf(denominator[i], shrink, warp_sum(weight));
      weights[i] = weight * factors[i];
      for (int j = 0; j < Layout<depth>::columns_of_lane; ++j) {
        sums[i][j] *= shrink;
      }
    }
    store_whole(probabilities + threadIdx.x * warp_queries,
                {{weights[0], weights[1], weights[2], weights[3], weights[4], weights[5], weights[6], weights[7]}});
    __syncwarp();
    const int size = keys - key_begin < tile_size ? keys - key_begin : tile_size;
    for (int token = 0; token < size; ++token) {
      read_eight(probabilities + token * warp_queries, weights);
      accumulate<depth>(weights, value, token, sums);
    }
    __syncwarp();
  }
  for (int i = 0; i < warp_queries && query_begin + i < tile.length; ++i) {
    store_token<depth>(sums[i], 1.0f / denominator[i], head_size, target + i * hidden);
    if (threadIdx.x == 0) {
      denominators[i] = largest[i] + logf(denominator[i]);
    }
  }
}

/// Probabilities of a tile of queries and a tile of keys, without and with their mask, and the gradients of the masked
/// ones: of the lane's key and the warp's queries.
struct Probabilities {
  float plain[warp_queries];
  float masked[warp_queries];
  float grad[warp_queries];
};

template <int depth>
__device__ __forceinline__ Probabilities recompute(const AttentionBatch& batch, const TileDropout& dropout,
                                                   const Tile& queries, int key_begin, const float* query,
                                                   const float* grad_output, const float* key, const float* value,
                                                   const float* logsumexp) {
  const int head_size = static_cast<int>(batch.head_size);
  const int query_begin = queries.begin + threadIdx.y * warp_queries;
  Probabilities result;
  multiply<depth>(query, key, head_size, result.plain);
  multiply<depth>(grad_output, value, head_size, result.grad);
  float factors[warp_queries];
  dropout.factors(queries.begin, key_begin, factors);
  for (int i = 0; i < warp_queries; ++i) {
    const int position = query_begin + i;
    // Queries behind the row have no part in anything.
    const bool counts =
        position < queries.length && key_begin + static_cast<int>(threadIdx.x) < seen(batch, queries, position);
    result.plain[i] = counts ? expf(result.plain[i] - logsumexp[position]) : 0.0f;
    result.masked[i] = result.plain[i] * factors[i];
    result.grad[i] = counts ? result.grad[i] * factors[i] : 0.0f;
  }
  return result;
}

template <int depth>
constexpr size_t backward_queries_bytes() {
  return (4 * Layout<depth>::tile + warps * warp_size * warp_queries) * sizeof(float) + threads * sizeof(uint4);
}

/// The gradient of the queries, and for each query mean = sum(P mask dP): the gradients of its scores are
/// P (mask dP - mean). The sum is taken from the probabilities rather than from output . grad_output, as on the CPU:
/// then the gradients of its scores sum to zero even where the output was rounded to bfloat16.
template <int depth, typename Scalar>
__global__ void __launch_bounds__(threads)
    attention_backward_queries_kernel(const AttentionBatch batch, const DeviceDraw draw, const Scalar* grad_output,
                                      const Scalar* qkv, const float* logsumexp, float* means, Scalar* grad_qkv) {
  const Tile tile = find_tile(batch, static_cast<int>(blockIdx.x));
  if (!tile.exists()) {
    return;
  }
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(batch.head_size);
  const int64_t hidden = batch.heads * batch.head_size;
  const int query_begin = tile.begin + threadIdx.y * warp_queries;
  Scalar* target = grad_qkv + (tile.first + query_begin) * 3 * hidden + head * head_size;
  float grads[warp_queries][Layout<depth>::columns_of_lane] = {};
  if (tile.filler) {
    for (int i = 0; i < warp_queries && query_begin + i < tile.length; ++i) {
      for (int part = 0; part < 3; ++part) {
        store_token<depth>(grads[i], 0.0f, head_size, target + i * 3 * hidden + part * hidden);
      }
    }
    return;
  }

  float* query = reinterpret_cast<float*>(steadytune_shared_memory);
  float* grad = query + Layout<depth>::tile;
  float* key = grad + Layout<depth>::tile;
  float* value = key + Layout<depth>::tile;
  float* grad_scores = value + Layout<depth>::tile + threadIdx.y * warp_size * warp_queries;
  auto* bits = reinterpret_cast<uint4*>(value + Layout<depth>::tile + warps * warp_size * warp_queries);
  const TileDropout dropout(draw, tile.row, head, bits);
  const Scalar* source = qkv + head * head_size;
  const float* denominators = logsumexp + head * batch.tokens + tile.first;
  const float scale = scale_of(batch);
  load_tile<depth>(source, 3 * hidden, head_size, tile, scale, query);
  load_tile<depth>(grad_output + head * head_size, hidden, head_size, tile, 1.0f, grad);

  const int keys = seen_by_tile(batch, tile);
  const auto visit = [&](int key_begin) {
    __syncthreads();
    load_tile<depth>(source + hidden, 3 * hidden, head_size, tile_at(tile, key_begin), 1.0f, key);
    load_tile<depth>(source + 2 * hidden, 3 * hidden, head_size, tile_at(tile, key_begin), 1.0f, value);
    __syncthreads();
    return recompute<depth>(batch, dropout, tile, key_begin, query, grad, key, value, denominators);
  };
  float mean[warp_queries] = {};
  Probabilities probabilities;
  for (int key_begin = 0; key_begin < keys; key_begin += tile_size) {
    probabilities = visit(key_begin);
    for (int i = 0; i < warp_queries; ++i) {
      mean[i] = fmaf(probabilities.plain[i], probabilities.grad[i], mean[i]);
    }
  }
  for (int i = 0; i < warp_queries; ++i) {
    mean[i] = warp_sum(mean[i]);
    if (threadIdx.x == 0 && query_begin + i < tile.length) {
      means[head * batch.tokens + tile.first + query_begin + i] = mean[i];
    }
  }
  for (int key_begin = 0; key_begin < keys; key_begin += tile_size) {
    // A row of one tile still has its probabilities.
    if (keys > tile_size) {
      probabilities = visit(key_begin);
    }
    Group group;
    for (int i = 0; i < warp_queries; ++i) {
      group.of[i] = probabilities.plain[i] * (probabilities.grad[i] - mean[i]);
    }
    store_whole(grad_scores + threadIdx.x * warp_queries, group);
    __syncwarp();
    const int size = keys - key_begin < tile_size ? keys - key_begin : tile_size;
    for (int token = 0; token < size; ++token) {
      float weights[warp_queries];
      read_eight(grad_scores + token * warp_queries, weights);
      accumulate<depth>(weights, key, token, grads);
    }
    __syncwarp();
  }
  for (int i = 0; i < warp_queries && query_begin + i < tile.length; ++i) {
    store_token<depth>(grads[i], scale, head_size, target + i * 3 * hidden);
  }
}

template <int depth>
constexpr size_t backward_keys_bytes() {
  return (4 * Layout<depth>::tile + 2 * tile_size * Layout<depth>::score_stride) * sizeof(float) +
         threads * sizeof(uint4);
}

/// The gradients of keys and values: a tile of keys meets all queries that see it, in order.
template <int depth, typename Scalar>
__global__ void __launch_bounds__(threads)
    attention_backward_keys_kernel(const AttentionBatch batch, const DeviceDraw draw, const Scalar* grad_output,
                                   const Scalar* qkv, const float* logsumexp, const float* means, Scalar* grad_qkv) {
  constexpr int score_stride = Layout<depth>::score_stride;
  const Tile tile = find_tile(batch, static_cast<int>(blockIdx.x));
  if (!tile.exists() || tile.filler) {
    return;
  }
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(batch.head_size);
  const int64_t hidden = batch.heads * batch.head_size;
  float* query = reinterpret_cast<float*>(steadytune_shared_memory);
  float* grad = query + Layout<depth>::tile;
  float* key = grad + Layout<depth>::tile;
  float* value = key + Layout<depth>::tile;
  // [queries, keys]
  float* masked = value + Layout<depth>::tile;
  float* grad_scores = masked + tile_size * score_stride;
  auto* bits = reinterpret_cast<uint4*>(grad_scores + tile_size * score_stride);
  const TileDropout dropout(draw, tile.row, head, bits);
  const Scalar* source = qkv + head * head_size;
  const int64_t tokens_begin = head * batch.tokens + tile.first;
  const float scale = scale_of(batch);
  load_tile<depth>(source + hidden, 3 * hidden, head_size, tile, 1.0f, key);
  load_tile<depth>(source + 2 * hidden, 3 * hidden, head_size, tile, 1.0f, value);

  float grad_key[warp_queries][Layout<depth>::columns_of_lane] = {};
  float grad_value[warp_queries][Layout<depth>::columns_of_lane] = {};
  for (int begin = batch.causal ? tile.begin : 0; begin < tile.length; begin += tile_size) {
    const Tile queries = tile_at(tile, begin);
    __syncthreads();
    load_tile<depth>(source, 3 * hidden, head_size, queries, scale, query);
    load_tile<depth>(grad_output + head * head_size, hidden, head_size, queries, 1.0f, grad);
    __syncthreads();
    const Probabilities probabilities =
        recompute<depth>(batch, dropout, queries, tile.begin, query, grad, key, value, logsumexp + tokens_begin);
    for (int i = 0; i < warp_queries; ++i) {
      const int in_tile = threadIdx.y * warp_queries + i;
      const float mean = begin + in_tile < tile.length ? means[tokens_begin + begin + in_tile] : 0.0f;
      masked[in_tile * score_stride + threadIdx.x] = probabilities.masked[i];
      grad_scores[in_tile * score_stride + threadIdx.x] = probabilities.plain[i] * (probabilities.grad[i] - mean);
    }
    __syncthreads();
    // From here on warp w has keys 8 w .. 8 w + 7, and lanes share columns. The queries carry the scale of the scores.
    const int size = queries.size();
    for (int token = 0; token < size; ++token) {
      float weights[warp_queries];
      read_eight(masked + token * score_stride + threadIdx.y * warp_queries, weights);
      accumulate<depth>(weights, grad, token, grad_value);
      read_eight(grad_scores + token * score_stride + threadIdx.y * warp_queries, weights);
      accumulate<depth>(weights, query, token, grad_key);
    }
  }
  const int key_begin = tile.begin + threadIdx.y * warp_queries;
  Scalar* target = grad_qkv + (tile.first + key_begin) * 3 * hidden + head * head_size;
  for (int i = 0; i < warp_queries && key_begin + i < tile.length; ++i) {
    store_token<depth>(grad_key[i], 1.0f, head_size, target + i * 3 * hidden + hidden);
    store_token<depth>(grad_value[i], 1.0f, head_size, target + i * 3 * hidden + 2 * hidden);
  }
}

template <int depth, typename Scalar>
cudaError_t forward(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw, const Scalar* qkv,
                    Scalar* output, float* logsumexp) {
  const dim3 blocks(most_tiles(batch), static_cast<unsigned>(batch.heads));
  return launch(stream, attention_kernel<depth, Scalar>, blocks, dim3(warp_size, warps), forward_bytes<depth>(), batch,
                draw, qkv, output, logsumexp);
}

template <int depth, typename Scalar>
cudaError_t backward(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                     const Scalar* grad_output, const Scalar* qkv, const float* logsumexp, float* means,
                     Scalar* grad_qkv) {
  const dim3 blocks(most_tiles(batch), static_cast<unsigned>(batch.heads));
  const dim3 block(warp_size, warps);
  const cudaError_t error =
      launch(stream, attention_backward_queries_kernel<depth, Scalar>, blocks, block, backward_queries_bytes<depth>(),
             batch, draw, grad_output, qkv, logsumexp, means, grad_qkv);
  if (error != cudaSuccess) {
    return error;
  }
  return launch(stream, attention_backward_keys_kernel<depth, Scalar>, blocks, block, backward_keys_bytes<depth>(),
                batch, draw, grad_output, qkv, logsumexp, static_cast<const float*>(means), grad_qkv);
}

}  // namespace

template <typename Scalar>
cudaError_t attention(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw, const Scalar* qkv,
                      Scalar* output, float* logsumexp) {
  return batch.head_size <= 64 ? forward<64>(stream, batch, draw, qkv, output, logsumexp)
                               : forward<most_head_size>(stream, batch, draw, qkv, output, logsumexp);
}

template <typename Scalar>
cudaError_t attention_backward(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                               const Scalar* grad_output, const Scalar* qkv, const float* logsumexp, float* means,
                               Scalar* grad_qkv) {
  return batch.head_size <= 64
             ? backward<64>(stream, batch, draw, grad_output, qkv, logsumexp, means, grad_qkv)
             : backward<most_head_size>(stream, batch, draw, grad_output, qkv, logsumexp, means, grad_qkv);
}

template cudaError_t attention(cudaStream_t, const AttentionBatch&, const DeviceDraw&, const float*, float*, float*);
template cudaError_t attention(cudaStream_t, const AttentionBatch&, const DeviceDraw&, const c10::BFloat16*,
                               c10::BFloat16*, float*);
template cudaError_t attention_backward(cudaStream_t, const AttentionBatch&, const DeviceDraw&, const float*,
                                        const float*, const float*, float*, float*);
template cudaError_t attention_backward(cudaStream_t, const AttentionBatch&, const DeviceDraw&, const c10::BFloat16*,
                                        const c10::BFloat16*, const float*, float*, c10::BFloat16*);

}  // namespace steadytune::kernels::cuda
