#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace steadytune::kernels::cuda {

/// What a kernel may use without asking; every GPU from sm_80 on grants twice as much to those that ask.
inline constexpr size_t unasked_shared_bytes = 48 * 1024;

/// Starts a kernel on a stream. A grid without blocks is no work, where CUDA itself reports an error.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(cudaStream_t stream, void (*kernel)(Parameters...), dim3 blocks, dim3 threads, size_t shared_bytes,
                   const Arguments&... arguments) {
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) {
    return cudaSuccess;
  }
  if (shared_bytes > unasked_shared_bytes) {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes));
    if (error != cudaSuccess) {
      return error;
    }
  }
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

/// Blocks of `size` that hold `count`.
inline unsigned blocks_for(int64_t count, int64_t size) { return static_cast<unsigned>((count + size - 1) / size); }

}  // namespace steadytune::kernels::cuda
