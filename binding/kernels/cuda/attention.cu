#include <type_traits>

#include "kernels/cuda/attention_bfloat16.h"
#include "kernels/cuda/attention_float32.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/shared_memory.h"

// Attention inside each row of a packed batch: the kernels for float32, and what starts those for either type.
namespace steadytune::kernels::cuda {
namespace {

template <int depth>
constexpr size_t forward_bytes() {
  // Queries, keys, values, probabilities and masks.
  return (3 * Layout<depth>::tile + warps * warp_size * warp_queries) * sizeof(float) + threads * sizeof(uint4);
}

template <int depth>
__global__ void __launch_bounds__(threads)
    attention_kernel(const AttentionBatch batch, const DeviceDraw draw, const AttentionTokens<const float> tokens,
                     float* output, float* logsumexp) {
  const Tile tile = find_tile(batch, static_cast<int>(blockIdx.x));
  if (!tile.exists()) {
    return;
  }
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(batch.head_size);
  const int64_t hidden = batch.heads * batch.head_size;
  const int query_begin = tile.begin + threadIdx.y * warp_queries;
  float* target = output + (tile.first + query_begin) * hidden + head * head_size;
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
  const float* key_source = tokens.key_value + head * head_size;
  load_tile<depth>(tokens.query + head * head_size, tokens.query_stride, head_size, tile, scale_of(batch), query);

  float largest[warp_queries];
  float denominator[warp_queries];
  for (int i = 0; i < warp_queries; ++i) {
    largest[i] = -infinity;
    denominator[i] = 0.0f;
  }
  const int keys = seen_by_tile(batch, tile);
  for (int key_begin = 0; key_begin < keys; key_begin += tile_size) {
    __syncthreads();
    load_tile<depth>(key_source, tokens.key_value_stride, head_size, tile_at(tile, key_begin), 1.0f, key);
    load_tile<depth>(key_source + hidden, tokens.key_value_stride, head_size, tile_at(tile, key_begin), 1.0f, value);
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
  result.weigh(factors, logsumexp + query_begin, [&](int i) {
    const int position = query_begin + i;
    return position < queries.length && key_begin + static_cast<int>(threadIdx.x) < seen(batch, queries, position);
  });
  return result;
}

template <int depth>
constexpr size_t backward_queries_bytes() {
  return (4 * Layout<depth>::tile + warps * warp_size * warp_queries) * sizeof(float) + threads * sizeof(uint4);
}

/// The gradient of the queries, and for each query mean = sum(P mask dP): the gradients of its scores are
/// P (mask dP - mean). The sum is taken from the probabilities rather than from output . grad_output, as on the CPU:
/// then the gradients of its scores sum to zero even where the output was rounded to bfloat16.
template <int depth>
__global__ void __launch_bounds__(threads)
    attention_backward_queries_kernel(const AttentionBatch batch, const DeviceDraw draw, const float* grad_output,
                                      const AttentionTokens<const float> tokens, const float* logsumexp, float* means,
                                      const AttentionTokens<float> target) {
  const Tile tile = find_tile(batch, static_cast<int>(blockIdx.x));
  if (!tile.exists()) {
    return;
  }
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(batch.head_size);
  const int64_t hidden = batch.heads * batch.head_size;
  const int query_begin = tile.begin + threadIdx.y * warp_queries;
  float* grad_query = target.query + (tile.first + query_begin) * target.query_stride + head * head_size;
  float grads[warp_queries][Layout<depth>::columns_of_lane] = {};
  if (tile.filler) {
    for (int i = 0; i < warp_queries && query_begin + i < tile.length; ++i) {
      store_token<depth>(grads[i], 0.0f, head_size, grad_query + i * target.query_stride);
      float* grad_key = target.key_value + (tile.first + query_begin + i) * target.key_value_stride + head * head_size;
      store_token<depth>(grads[i], 0.0f, head_size, grad_key);
      store_token<depth>(grads[i], 0.0f, head_size, grad_key + hidden);
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
  const float* key_source = tokens.key_value + head * head_size;
  const float* denominators = logsumexp + head * batch.tokens + tile.first;
  const float scale = scale_of(batch);
  load_tile<depth>(tokens.query + head * head_size, tokens.query_stride, head_size, tile, scale, query);
  load_tile<depth>(grad_output + head * head_size, hidden, head_size, tile, 1.0f, grad);

  const int keys = seen_by_tile(batch, tile);
  const auto visit = [&](int key_begin) {
    __syncthreads();
    load_tile<depth>(key_source, tokens.key_value_stride, head_size, tile_at(tile, key_begin), 1.0f, key);
    load_tile<depth>(key_source + hidden, tokens.key_value_stride, head_size, tile_at(tile, key_begin), 1.0f, value);
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
    store_token<depth>(grads[i], scale, head_size, grad_query + i * target.query_stride);
  }
}

template <int depth>
constexpr size_t backward_keys_bytes() {
  return (4 * Layout<depth>::tile + 2 * tile_size * Layout<depth>::score_stride) * sizeof(float) +
         threads * sizeof(uint4);
}

/// The gradients of keys and values: a tile of keys meets all queries that see it, in order.
template <int depth>
__global__ void __launch_bounds__(threads)
    attention_backward_keys_kernel(const AttentionBatch batch, const DeviceDraw draw, const float* grad_output,
                                   const AttentionTokens<const float> tokens, const float* logsumexp,
                                   const float* means, const AttentionTokens<float> target) {
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
  const float* key_source = tokens.key_value + head * head_size;
  const int64_t tokens_begin = head * batch.tokens + tile.first;
  const float scale = scale_of(batch);
  load_tile<depth>(key_source, tokens.key_value_stride, head_size, tile, 1.0f, key);
  load_tile<depth>(key_source + hidden, tokens.key_value_stride, head_size, tile, 1.0f, value);

  float grad_key[warp_queries][Layout<depth>::columns_of_lane] = {};
  float grad_value[warp_queries][Layout<depth>::columns_of_lane] = {};
  for (int begin = batch.causal ? tile.begin : 0; begin < tile.length; begin += tile_size) {
    const Tile queries = tile_at(tile, begin);
    __syncthreads();
    load_tile<depth>(tokens.query + head * head_size, tokens.query_stride, head_size, queries, scale, query);
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
  float* of_keys = target.key_value + (tile.first + key_begin) * target.key_value_stride + head * head_size;
  for (int i = 0; i < warp_queries && key_begin + i < tile.length; ++i) {
    store_token<depth>(grad_key[i], 1.0f, head_size, of_keys + i * target.key_value_stride);
    store_token<depth>(grad_value[i], 1.0f, head_size, of_keys + i * target.key_value_stride + hidden);
  }
}

template <int depth>
cudaError_t forward(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                    const AttentionTokens<const float>& tokens, float* output, float* logsumexp) {
  const dim3 blocks(most_tiles(batch.tokens, batch.rows), static_cast<unsigned>(batch.heads));
  return launch(stream, attention_kernel<depth>, blocks, dim3(warp_size, warps), forward_bytes<depth>(), batch, draw,
                tokens, output, logsumexp);
}

template <int depth>
cudaError_t backward(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw, const float* grad_output,
                     const AttentionTokens<const float>& tokens, const float* logsumexp, float* means,
                     const AttentionTokens<float>& grads) {
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

template <typename Scalar>
cudaError_t attention(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                      const AttentionTokens<const Scalar>& tokens, Scalar* output, float* logsumexp) {
  if constexpr (std::is_same_v<Scalar, c10::BFloat16>) {
    return attention_bfloat16(stream, batch, draw, tokens, output, logsumexp);
  } else {
    return batch.head_size <= 64 ? forward<64>(stream, batch, draw, tokens, output, logsumexp)
                                 : forward<most_head_size>(stream, batch, draw, tokens, output, logsumexp);
  }
}

template <typename Scalar>
cudaError_t attention_backward(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                               const Scalar* grad_output, const AttentionTokens<const Scalar>& tokens,
                               const float* logsumexp, float* means, const AttentionTokens<Scalar>& grads) {
  if constexpr (std::is_same_v<Scalar, c10::BFloat16>) {
    return attention_backward_bfloat16(stream, batch, draw, grad_output, tokens, logsumexp, means, grads);
  } else {
    return batch.head_size <= 64
               ? backward<64>(stream, batch, draw, grad_output, tokens, logsumexp, means, grads)
               : backward<most_head_size>(stream, batch, draw, grad_output, tokens, logsumexp, means, grads);
  }
}

template cudaError_t attention(cudaStream_t, const AttentionBatch&, const DeviceDraw&,
                               const AttentionTokens<const float>&, float*, float*);
template cudaError_t attention(cudaStream_t, const AttentionBatch&, const DeviceDraw&,
                               const AttentionTokens<const c10::BFloat16>&, c10::BFloat16*, float*);
template cudaError_t attention_backward(cudaStream_t, const AttentionBatch&, const DeviceDraw&, const float*,
                                        const AttentionTokens<const float>&, const float*, float*,
                                        const AttentionTokens<float>&);
template cudaError_t attention_backward(cudaStream_t, const AttentionBatch&, const DeviceDraw&, const c10::BFloat16*,
                                        const AttentionTokens<const c10::BFloat16>&, const float*, float*,
                                        const AttentionTokens<c10::BFloat16>&);

}  // namespace steadytune::kernels::cuda
