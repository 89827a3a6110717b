#include "kernels/activation.h"
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/masks.h"

namespace steadytune::kernels::cuda {
namespace {

constexpr int threads = 128;

/// What the functors of activation.h ask for.
struct DeviceMath {
  static __device__ __forceinline__ float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
  static __device__ __forceinline__ float absolute(float x) { return fabsf(x); }
  static __device__ __forceinline__ float at_most(float x, float limit) { return x > limit ? limit : x; }
  static __device__ __forceinline__ float at_least(float x, float limit) { return x < limit ? limit : x; }
  static __device__ __forceinline__ float negative(float x, float yes, float no) {
    return (__float_as_uint(x) >> 31) != 0 ? yes : no;
  }
  static __device__ __forceinline__ float positive(float x, float yes, float no) { return x <= 0.0f ? no : yes; }
  static __device__ __forceinline__ float times_power(float x, float power) {
    return __uint_as_float(__float_as_uint(x) + (__float_as_uint(power) << 23));
  }
};

__device__ __forceinline__ float value_of(Activation activation, float x) {
  switch (activation) {
    case Activation::gelu:
      return gelu<DeviceMath>(x);
    case Activation::gelu_tanh:
      return gelu_tanh<DeviceMath>(x);
    case Activation::tanh:
      return tanh<DeviceMath>(x);
    default:
      return relu<DeviceMath>(x);
  }
}

__device__ __forceinline__ float derivative_of(Activation activation, float x) {
  switch (activation) {
    case Activation::gelu:
      return gelu_derivative<DeviceMath>(x);
    case Activation::gelu_tanh:
      return gelu_tanh_derivative<DeviceMath>(x);
    case Activation::tanh:
      return tanh_derivative<DeviceMath>(x);
    default:
      return relu_derivative<DeviceMath>(x);
  }
}

/// A block takes a token and threads * 8 of its columns.
template <typename Scalar>
__global__ void __launch_bounds__(threads)
    bias_activation_kernel(Activation activation, const Scalar* x, const float* bias, Scalar* y, const TokenMask mask,
                           const Shape shape) {
  const int64_t token = blockIdx.x;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * threads + threadIdx.x) * group_size;
  if (column >= shape.columns) {
    return;
  }
  const int64_t place = token * shape.columns + column;
  const int64_t count = shape.columns - column;
  Group group = load_group(x + place, count);
  const Group offset = load_group(bias + column, count);
  for (int i = 0; i < group_size; ++i) {
    group.of[i] = value_of(activation, group.of[i] + offset.of[i]);
  }
  TokenDropout(mask, token).apply(column, group);
  store_group(y + place, count, group);
}

template <typename Scalar>
__global__ void bias_activation_backward_kernel(Activation activation, const Scalar* grad_y, const Scalar* x,
                                                const float* bias, Scalar* grad_x, float* parts, const TokenMask mask,
                                                const Shape shape) {
  sum_chunk<1>(shape, parts, [&](int64_t token, int64_t column, int64_t count, Group(&total)[1]) {
    const int64_t place = token * shape.columns + column;
    Group grad = load_group(grad_y + place, count);
    const Group input = load_group(x + place, count);
    const Group offset = load_group(bias + column, count);
    TokenDropout(mask, token).apply(column, grad);
    for (int i = 0; i < group_size; ++i) {
      grad.of[i] *= derivative_of(activation, input.of[i] + offset.of[i]);
      total[0].of[i] += grad.of[i];
    }
    store_group(grad_x + place, count, grad);
  });
}

}  // namespace

template <typename Scalar>
cudaError_t bias_activation(cudaStream_t stream, Activation activation, const Scalar* x, const float* bias, Scalar* y,
                            const TokenMask& mask, const Shape& shape) {
  const dim3 blocks(static_cast<unsigned>(shape.tokens), blocks_for(shape.columns, threads * group_size));
  return launch(stream, bias_activation_kernel<Scalar>, blocks, threads, 0, activation, x, bias, y, mask, shape);
}

template <typename Scalar>
cudaError_t bias_activation_backward(cudaStream_t stream, Activation activation, const Scalar* grad_y, const Scalar* x,
                                     const float* bias, Scalar* grad_x, float* parts, float* grad_bias,
                                     const TokenMask& mask, const Shape& shape) {
  const cudaError_t error = launch(stream, bias_activation_backward_kernel<Scalar>, chunk_blocks(shape),
                                   chunk_threads(), 0, activation, grad_y, x, bias, grad_x, parts, mask, shape);
  return error != cudaSuccess ? error : total(stream, parts, shape.tokens, shape.columns, grad_bias);
}

template cudaError_t bias_activation(cudaStream_t, Activation, const float*, const float*, float*, const TokenMask&,
                                     const Shape&);
template cudaError_t bias_activation(cudaStream_t, Activation, const c10::BFloat16*, const float*, c10::BFloat16*,
                                     const TokenMask&, const Shape&);
template cudaError_t bias_activation_backward(cudaStream_t, Activation, const float*, const float*, const float*,
                                              float*, float*, float*, const TokenMask&, const Shape&);
template cudaError_t bias_activation_backward(cudaStream_t, Activation, const c10::BFloat16*, const c10::BFloat16*,
                                              const float*, c10::BFloat16*, float*, float*, const TokenMask&,
                                              const Shape&);

}  // namespace steadytune::kernels::cuda
