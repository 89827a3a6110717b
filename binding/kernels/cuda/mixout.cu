#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/masks.h"
#include "kernels/mixout.h"

namespace steadytune::kernels::cuda {
namespace {

constexpr int threads = 128;

/// Eight elements that share a Philox block: along the whole parameter, or along a row for masks per column.
struct Place {
  int64_t first;
  int64_t count;
  int64_t part;
  /// Of the first element where the mask counts: in its parameter, or its column.
  int64_t in_mask;

  /// Of this thread; `count` is not above zero behind the end.
  static __device__ __forceinline__ Place here(const MixoutMask& mask) {
    if (mask.column) {
      const int64_t row = blockIdx.x;
      const int64_t column = (static_cast<int64_t>(blockIdx.y) * threads + threadIdx.x) * group_size;
      return {row * mask.columns + column, mask.columns - column, row / (mask.rows / mask.parts), column};
    }
    const int64_t elements = mask.rows / mask.parts * mask.columns;
    const int64_t element = (static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x) * group_size;
    const int64_t part = blockIdx.y;
    return {part * elements + element, elements - element, part, element};
  }
};

__device__ __forceinline__ Group factors_at(const MixoutMask& mask, const Place& place) {
  Group factors;
  if (mask.given != nullptr) {
    for (int i = 0; i < group_size; ++i) {
      factors.of[i] = i < place.count && !mask.given[place.in_mask + i] ? mask.given_scale : 0.0f;
    }
    return factors;
  }
  MixoutDraw draw = mask.draws[place.part];
  draw.mask = counted({draw.mask, mask.counter});
  if (mask.counter != nullptr) {
    draw.micro_batch += static_cast<uint32_t>(mask.counter[1]);
  }
  const auto block = static_cast<uint32_t>(place.in_mask / mixout_block_elements);
  const PhiloxBlock bits = philox4x32(mixout_counter(draw, block), draw.mask.key);
  for (int i = 0; i < group_size; ++i) {
    factors.of[i] = dropout_factor(draw.mask, bits, i);
  }
  return factors;
}

template <typename Scalar>
__global__ void __launch_bounds__(threads)
    mixout_kernel(const MixoutMask mask, const float* values, const float* target, Scalar* output) {
  const Place place = Place::here(mask);
  if (place.count <= 0) {
    return;
  }
  Group value = load_group(values + place.first, place.count);
  const Group start = load_group(target + place.first, place.count);
  const Group factors = factors_at(mask, place);
  for (int i = 0; i < group_size; ++i) {
    value.of[i] = mixout_element(value.of[i], start.of[i], factors.of[i]);
  }
  store_group(output + place.first, place.count, value);
}

template <typename Scalar>
__global__ void __launch_bounds__(threads)
    mixout_backward_kernel(const MixoutMask mask, const Scalar* grad_output, float* grad_values) {
  const Place place = Place::here(mask);
  if (place.count <= 0) {
    return;
  }
  Group grad = load_group(grad_output + place.first, place.count);
  const Group factors = factors_at(mask, place);
  for (int i = 0; i < group_size; ++i) {
    grad.of[i] *= factors.of[i];
  }
  store_group(grad_values + place.first, place.count, grad);
}

dim3 blocks_over(const MixoutMask& mask) {
  if (mask.column) {
    return {static_cast<unsigned>(mask.rows), blocks_for(mask.columns, threads * group_size)};
  }
  return {blocks_for(mask.rows / mask.parts * mask.columns, threads * group_size), static_cast<unsigned>(mask.parts)};
}

}  // namespace

template <typename Scalar>
cudaError_t mixout(cudaStream_t stream, const MixoutMask& mask, const float* values, const float* target,
                   Scalar* output) {
  return launch(stream, mixout_kernel<Scalar>, blocks_over(mask), threads, 0, mask, values, target, output);
}

template <typename Scalar>
cudaError_t mixout_backward(cudaStream_t stream, const MixoutMask& mask, const Scalar* grad_output,
                            float* grad_values) {
  return launch(stream, mixout_backward_kernel<Scalar>, blocks_over(mask), threads, 0, mask, grad_output, grad_values);
}

template cudaError_t mixout(cudaStream_t, const MixoutMask&, const float*, const float*, float*);
template cudaError_t mixout(cudaStream_t, const MixoutMask&, const float*, const float*, c10::BFloat16*);
template cudaError_t mixout_backward(cudaStream_t, const MixoutMask&, const float*, float*);
template cudaError_t mixout_backward(cudaStream_t, const MixoutMask&, const c10::BFloat16*, float*);

}  // namespace steadytune::kernels::cuda
