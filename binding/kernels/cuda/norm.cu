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

/// A block takes a token. Its float32 sums stay in shared memory, where every thread reads back what it wrote itself.
template <typename Scalar>
__global__ void __launch_bounds__(threads)
    add_norm_kernel(const AddNorm<Scalar> tensors, const TokenMask mask, const Shape shape) {
  float* sums = reinterpret_cast<float*>(steadytune_shared_memory);
  const int64_t token = blockIdx.x;
  const int64_t start = token * shape.columns;
  const int64_t columns = shape.columns;
  const TokenDropout dropout(mask, token);
  float sum = 0.0f;
  for (int64_t column = threadIdx.x * group_size; column < columns; column += step) {
    const int64_t count = columns - column;
    Group group = load_group(tensors.x + start + column, count);
    const Group bias = load_group(tensors.bias + column, count);
    const Group residual = load_group(tensors.residual + start + column, count);
    for (int i = 0; i < group_size; ++i) {
      group.of[i] += bias.of[i];
    }
    dropout.apply(column, group);
    for (int i = 0; i < group_size; ++i) {
      group.of[i] += residual.of[i];
      sum += group.of[i];
    }
    store_whole(sums + column, group);
  }
  const auto [mean, rstd] = moments<threads>(sums, sum, columns, tensors.eps);
  if (threadIdx.x == 0) {
    tensors.rstd[token] = rstd;
  }
  for (int64_t column = threadIdx.x * group_size; column < columns; column += step) {
    const int64_t count = columns - column;
    Group normalized = load_whole(sums + column);
    Group y = load_group(tensors.weight + column, count);
    const Group bias = load_group(tensors.norm_bias + column, count);
    for (int i = 0; i < group_size; ++i) {
      normalized.of[i] = (normalized.of[i] - mean) * rstd;
      y.of[i] = fmaf(normalized.of[i], y.of[i], bias.of[i]);
    }
    store_group(tensors.normalized + start + column, count, normalized);
    store_group(tensors.y + start + column, count, y);
  }
}

/// With g = grad_y weight: mean(g) and mean(g normalized) of each token; a warp takes a token.
template <typename Scalar>
__global__ void __launch_bounds__(threads)
    add_norm_means_kernel(const AddNormBackward<Scalar> tensors, const Shape shape) {
  const int64_t token = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.y;
  if (token >= shape.tokens) {
    return;
  }
  const int64_t start = token * shape.columns;
  float sum = 0.0f;
  float products = 0.0f;
  for (int64_t column = threadIdx.x * group_size; column < shape.columns; column += warp_size * group_size) {
    const int64_t count = shape.columns - column;
    const Group grad = load_group(tensors.grad_y + start + column, count);
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

/// The gradient of the sum is rstd (g - mean(g) - normalized mean(g normalized)).
template <typename Scalar>
__global__ void add_norm_backward_kernel(const AddNormBackward<Scalar> tensors, const TokenMask mask,
                                         const Shape shape) {
  sum_chunk<3>(shape, tensors.parts, [&](int64_t token, int64_t column, int64_t count, Group(&total)[3]) {
    const int64_t place = token * shape.columns + column;
    const Group grad_y = load_group(tensors.grad_y + place, count);
    const Group normalized = load_group(tensors.normalized + place, count);
    const Group weight = load_group(tensors.weight + column, count);
    const float2 means = tensors.means[token];
    const float rstd = tensors.rstd[token];
    Group grad;
    for (int i = 0; i < group_size; ++i) {
      total[2].of[i] += grad_y.of[i];
      total[1].of[i] = fmaf(grad_y.of[i], normalized.of[i], total[1].of[i]);
      const float spread = fmaf(normalized.of[i], means.y, means.x);
      grad.of[i] = (grad_y.of[i] * weight.of[i] - spread) * rstd;
    }
    store_group(tensors.grad_residual + place, count, grad);
    if (tensors.grad_x != nullptr) {
      TokenDropout(mask, token).apply(column, grad);
      store_group(tensors.grad_x + place, count, grad);
    }
    for (int i = 0; i < group_size; ++i) {
      total[0].of[i] += grad.of[i];
    }
  });
}

}  // namespace

template <typename Scalar>
cudaError_t add_norm(cudaStream_t stream, const AddNorm<Scalar>& tensors, const TokenMask& mask, const Shape& shape) {
  const size_t shared_bytes = blocks_for(shape.columns, group_size) * sizeof(Group);
  return launch(stream, add_norm_kernel<Scalar>, static_cast<unsigned>(shape.tokens), threads, shared_bytes, tensors,
                mask, shape);
}

template <typename Scalar>
cudaError_t add_norm_backward(cudaStream_t stream, const AddNormBackward<Scalar>& tensors, const TokenMask& mask,
                              const Shape& shape) {
  cudaError_t error = launch(stream, add_norm_means_kernel<Scalar>, blocks_for(shape.tokens, warps),
                             dim3(warp_size, warps), 0, tensors, shape);
  if (error == cudaSuccess) {
    error =
        launch(stream, add_norm_backward_kernel<Scalar>, chunk_blocks(shape), chunk_threads(), 0, tensors, mask, shape);
  }
  if (error == cudaSuccess) {
    error = total(stream, tensors.parts, shape.tokens, 3 * shape.columns, tensors.grad_vectors);
  }
  return error;
}

template cudaError_t add_norm(cudaStream_t, const AddNorm<float>&, const TokenMask&, const Shape&);
template cudaError_t add_norm(cudaStream_t, const AddNorm<c10::BFloat16>&, const TokenMask&, const Shape&);
template cudaError_t add_norm_backward(cudaStream_t, const AddNormBackward<float>&, const TokenMask&, const Shape&);
template cudaError_t add_norm_backward(cudaStream_t, const AddNormBackward<c10::BFloat16>&, const TokenMask&,
                                       const Shape&);

}  // namespace steadytune::kernels::cuda
