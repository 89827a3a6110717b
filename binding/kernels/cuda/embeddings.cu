#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/masks.h"
#include "kernels/cuda/moments.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/shared_memory.h"

namespace steadytune::kernels::cuda {
namespace {

constexpr int threads = 128;
constexpr int warps = threads / warp_size;
constexpr int step = threads * group_size;
/// Segments have two rows for thousands of tokens, whose loads would otherwise wait for each other.
constexpr int loads_ahead = 8;

/// A block takes a token; its sums stay in shared memory.
template <typename Scalar>
__global__ void __launch_bounds__(threads)
    embed_kernel(const Embed<Scalar> tensors, const TokenMask mask, const Shape shape) {
  float* sums = reinterpret_cast<float*>(steadytune_shared_memory);
  const Embedding& in = tensors.embedding;
  const int64_t token = blockIdx.x;
  const int64_t columns = shape.columns;
  const int64_t start = token * columns;
  const float* word = in.word + in.word_ids[token] * columns;
  const float* position = in.position + in.position_ids[token] * columns;
  const float* segment = in.segment == nullptr ? nullptr : in.segment + in.segment_ids[token] * columns;
  float sum = 0.0f;
  for (int64_t column = threadIdx.x * group_size; column < columns; column += step) {
    const int64_t count = columns - column;
    Group group = load_group(word + column, count);
    const Group place = load_group(position + column, count);
    Group kind = {};
    if (segment != nullptr) {
      kind = load_group(segment + column, count);
    }
    for (int i = 0; i < group_size; ++i) {
      group.of[i] = group.of[i] * in.word_scale + kind.of[i] + place.of[i];
      sum += group.of[i];
    }
    store_whole(sums + column, group);
  }
  const auto [mean, rstd] = moments<threads>(sums, sum, columns, tensors.eps);
  if (threadIdx.x == 0) {
    tensors.rstd[token] = rstd;
  }
  const TokenDropout dropout(mask, token);
  for (int64_t column = threadIdx.x * group_size; column < columns; column += step) {
    const int64_t count = columns - column;
    Group normalized = load_whole(sums + column);
    Group y = load_group(tensors.weight + column, count);
    const Group bias = load_group(tensors.norm_bias + column, count);
    for (int i = 0; i < group_size; ++i) {
      normalized.of[i] = (normalized.of[i] - mean) * rstd;
      y.of[i] = fmaf(normalized.of[i], y.of[i], bias.of[i]);
    }
    dropout.apply(column, y);
    store_group(tensors.normalized + start + column, count, normalized);
    store_group(tensors.y + start + column, count, y);
  }
}

/// With g = mask grad_y weight: mean(g) and mean(g normalized) of each token; a warp takes a token.
template <typename Scalar>
__global__ void __launch_bounds__(threads)
    embed_means_kernel(const EmbedBackward<Scalar> tensors, const TokenMask mask, const Shape shape) {
  const int64_t token = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.y;
  if (token >= shape.tokens) {
    return;
  }
  const int64_t start = token * shape.columns;
  const TokenDropout dropout(mask, token);
  float sum = 0.0f;
  float products = 0.0f;
  for (int64_t column = threadIdx.x * group_size; column < shape.columns; column += warp_size * group_size) {
    const int64_t count = shape.columns - column;
    Group grad = load_group(tensors.grad_y + start + column, count);
    dropout.apply(column, grad);
    const Group normalized = load_group(tensors.normalized + start + column, count);
    const Group weight = load_group(tensors.weight + column, count);
    for (int i = 0; i < group_size; ++i) {
      const float scaled = grad.of[i] * weight.of[i];
      sum += scaled;
      products = fmaf(scaled, normalized.of[i], products);
    }
  }
  sum = warp_sum(sum);
  products = warp_sum(products);
  if (threadIdx.x == 0) {
    const auto columns = static_cast<float>(shape.columns);
    tensors.means[token] = make_float2(sum / columns, products / columns);
  }
}

template <typename Scalar>
__global__ void embed_backward_kernel(const EmbedBackward<Scalar> tensors, const TokenMask mask, const Shape shape) {
  sum_chunk<2>(shape, tensors.parts, [&](int64_t token, int64_t column, int64_t count, Group(&total)[2]) {
    const int64_t place = token * shape.columns + column;
    Group grad_y = load_group(tensors.grad_y + place, count);
    TokenDropout(mask, token).apply(column, grad_y);
    const Group normalized = load_group(tensors.normalized + place, count);
    const Group weight = load_group(tensors.weight + column, count);
    const float2 means = tensors.means[token];
    const float rstd = tensors.rstd[token];
    Group grad;
    for (int i = 0; i < group_size; ++i) {
      total[0].of[i] = fmaf(grad_y.of[i], normalized.of[i], total[0].of[i]);
      total[1].of[i] += grad_y.of[i];
      const float spread = fmaf(normalized.of[i], means.y, means.x);
      grad.of[i] = (grad_y.of[i] * weight.of[i] - spread) * rstd;
    }
    store_group(tensors.grad_sum + place, count, grad);
  });
}

/// The block of a row's first token adds all of that row's tokens, in order; blocks of its other tokens do nothing. So
/// no two blocks meet in an element.
__global__ void __launch_bounds__(threads)
    scatter_kernel(float* table, const int32_t* ids, const float* grads, float scale, const Shape shape) {
  const int first = static_cast<int>(blockIdx.x);
  const int tokens = static_cast<int>(shape.tokens);
  const int32_t id = ids[first];
  __shared__ bool of_warps[warps];
  bool earlier = false;
  for (int token = static_cast<int>(threadIdx.x); token < first; token += threads) {
    earlier = earlier || ids[token] == id;
  }
  earlier = __ballot_sync(whole_warp, earlier) != 0;
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  if (lane == 0) {
    of_warps[threadIdx.x / warp_size] = earlier;
  }
  __syncthreads();
  for (int warp = 0; warp < warps; ++warp) {
    if (of_warps[warp]) {
      return;
    }
  }
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * threads + threadIdx.x) * group_size;
  const int64_t count = shape.columns - column;
  float* to = table + id * shape.columns + column;
  Group sum = load_group(to, count);
  for (int begin = first; begin < tokens; begin += warp_size) {
    const int mine = begin + lane;
    unsigned tokens_of_row = __ballot_sync(whole_warp, mine < tokens && ids[mine] == id);
    while (tokens_of_row != 0) {
      Group ahead[loads_ahead];
      int taken = 0;
#pragma unroll
      for (int k = 0; k < loads_ahead; ++k) {
        if (tokens_of_row != 0) {
          const int64_t token = begin + __ffs(static_cast<int>(tokens_of_row)) - 1;
          ahead[k] = load_group(grads + token * shape.columns + column, count);
          tokens_of_row &= tokens_of_row - 1;
          taken = k + 1;
        }
      }
#pragma unroll
      for (int k = 0; k < loads_ahead; ++k) {
        if (k < taken) {
          for (int i = 0; i < group_size; ++i) {
            sum.of[i] = fmaf(scale, ahead[k].of[i], sum.of[i]);
          }
        }
      }
    }
  }
  store_group(to, count, sum);
}

}  // namespace

template <typename Scalar>
cudaError_t embed(cudaStream_t stream, const Embed<Scalar>& tensors, const TokenMask& mask, const Shape& shape) {
  const size_t shared_bytes = blocks_for(shape.columns, group_size) * sizeof(Group);
  return launch(stream, embed_kernel<Scalar>, static_cast<unsigned>(shape.tokens), threads, shared_bytes, tensors, mask,
                shape);
}

template <typename Scalar>
cudaError_t embed_backward(cudaStream_t stream, const EmbedBackward<Scalar>& tensors, const TokenMask& mask,
                           const Shape& shape) {
  cudaError_t error = launch(stream, embed_means_kernel<Scalar>, blocks_for(shape.tokens, warps),
                             dim3(warp_size, warps), 0, tensors, mask, shape);
  if (error == cudaSuccess) {
    error =
        launch(stream, embed_backward_kernel<Scalar>, chunk_blocks(shape), chunk_threads(), 0, tensors, mask, shape);
  }
  if (error == cudaSuccess) {
    error = total(stream, tensors.parts, shape.tokens, 2 * shape.columns, tensors.grad_vectors);
  }
  return error;
}

cudaError_t scatter(cudaStream_t stream, float* table, const int32_t* ids, const float* grads, float scale,
                    const Shape& shape) {
  const dim3 blocks(static_cast<unsigned>(shape.tokens), blocks_for(shape.columns, step));
  return launch(stream, scatter_kernel, blocks, threads, 0, table, ids, grads, scale, shape);
}

template cudaError_t embed(cudaStream_t, const Embed<float>&, const TokenMask&, const Shape&);
template cudaError_t embed(cudaStream_t, const Embed<c10::BFloat16>&, const TokenMask&, const Shape&);
template cudaError_t embed_backward(cudaStream_t, const EmbedBackward<float>&, const TokenMask&, const Shape&);
template cudaError_t embed_backward(cudaStream_t, const EmbedBackward<c10::BFloat16>&, const TokenMask&, const Shape&);

}  // namespace steadytune::kernels::cuda
