#pragma once

#include "kernels/cuda/elements.h"
#include "kernels/cuda/reduce.h"

// Mean and standard deviation of a token, as LayerNorm wants them. Included by *.cu alone.
namespace steadytune::kernels::cuda {

struct Moments {
  float mean;
  float rstd;
};

/// Of the `columns` values that a block of `threads` holds in shared memory: thread t has the groups t, t + threads,
/// ... and `sum` of their values. In two passes, so that nothing cancels.
template <int threads>
__device__ __forceinline__ Moments moments(const float* values, float sum, int64_t columns, float eps) {
  __shared__ float of_warps[2][threads / warp_size];
  const auto count = static_cast<float>(columns);
  const float mean = block_sum<threads>(sum, of_warps[0]) / count;
  float squares = 0.0f;
  for (int64_t column = threadIdx.x * group_size; column < columns; column += threads * group_size) {
    const Group group = load_whole(values + column);
    for (int i = 0; i < group_size; ++i) {
      const float distance = column + i < columns ? group.of[i] - mean : 0.0f;
      squares += distance * distance;
    }
  }
  return {mean, 1.0f / sqrtf(block_sum<threads>(squares, of_warps[1]) / count + eps)};
}

}  // namespace steadytune::kernels::cuda
