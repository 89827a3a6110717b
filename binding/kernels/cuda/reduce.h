#pragma once

#include <cuda_runtime.h>

// Sums in an order that depends on nothing but the shape. Included by *.cu alone.
namespace steadytune::kernels::cuda {

inline constexpr int warp_size = 32;
inline constexpr unsigned whole_warp = 0xFFFFFFFFu;

/// Of all lanes, in every lane; or of each `lanes` neighbours.
template <int lanes = warp_size, typename Value>
__device__ __forceinline__ Value warp_sum(Value value) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(whole_warp, value, distance);
  }
  return value;
}

template <int lanes = warp_size>
__device__ __forceinline__ float warp_max(float value) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(whole_warp, value, distance));
  }
  return value;
}

/// Of all threads of a one-dimensional block of `threads`, in every thread. `shared` [threads / 32] may be used again
/// after the block's next barrier.
template <int threads, typename Value>
__device__ __forceinline__ Value block_sum(Value value, Value* shared) {
  value = warp_sum(value);
  if (threadIdx.x % warp_size == 0) {
    shared[threadIdx.x / warp_size] = value;
  }
  __syncthreads();
  Value sum = shared[0];
  for (int warp = 1; warp < threads / warp_size; ++warp) {
    sum += shared[warp];
  }
  return sum;
}

}  // namespace steadytune::kernels::cuda
