#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// Copies from global into shared memory that pass no register and that nothing waits for until it must. Included by
// *.cu alone.
namespace steadytune::kernels::cuda {

/// Begins to copy 16 bytes between places at boundaries of 16; or, where they do not exist, to write zeros: then `from`
/// is not read.
__device__ __forceinline__ void copy_async(const void* from, bool exists, void* to) {
#if defined(__CUDACC__)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))), "l"(from), "r"(exists ? 16 : 0)
               : "memory");
#else
  emulator::copy_async(from, exists, to);
#endif
}

/// Until the thread's own copies have ended. Others see them behind the next barrier.
__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_all;" : : : "memory");
#else
  emulator::wait_for_copies();
#endif
}

}  // namespace steadytune::kernels::cuda
