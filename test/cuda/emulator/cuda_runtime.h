#pragma once

#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

// Stands in for CUDA's header of this name, so that the kernels of binding/kernels/cuda compile as plain C++ and run on
// the CPU: only what they use of CUDA is here, and it behaves as CUDA promises or reports that it was misused. See
// emulator.h for how blocks run.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// One for all threads of a block, which are fibers of one thread of the CPU.
#define __shared__ thread_local

struct dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;

  constexpr dim3(unsigned in_x = 1, unsigned in_y = 1, unsigned in_z = 1) : x(in_x), y(in_y), z(in_z) {}
};

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline int __ffs(int bits) { return __builtin_ffs(bits); }

/// Of the fiber that runs.
extern dim3 threadIdx;
extern dim3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

namespace emulator {

constexpr int warp_size = 32;

/// Waits for the block.
void wait_for_block();
/// Gives `bytes` of a value to the other lanes of the warp, waits for all of them, and takes those of lane `source`.
void exchange(const void* mine, void* taken, size_t bytes, int source);
/// This thread's lane.
int lane();
/// The bits of all lanes' votes.
unsigned vote(bool mine);
/// The instruction mma.sync.m16n8k16 for bfloat16: a lane's words of both factors and its elements of the sum.
void multiply_matrices(float (&sum)[4], const uint32_t (&left)[4], uint32_t right0, uint32_t right1);
/// The instruction ldmatrix.x4 for elements of 16 bits, or its form .trans: the lane's row, 16 bytes, and its words.
void load_matrices(const void* row, bool transposed, uint32_t (&words)[4]);
/// The instruction cp.async of 16 bytes, or of zeros in their place. Nothing arrives before the thread waits for it.
void copy_async(const void* from, bool exists, void* to);
void wait_for_copies();

}  // namespace emulator

inline void __syncthreads() { emulator::wait_for_block(); }
inline void __syncwarp() { emulator::vote(false); }
inline unsigned __ballot_sync(unsigned, int predicate) { return emulator::vote(predicate != 0); }

template <typename Value>
Value emulated_shuffle(Value value, int source) {
  Value taken = value;
  emulator::exchange(&value, &taken, sizeof value, source);
  return taken;
}
template <typename Value>
Value __shfl_sync(unsigned, Value value, int source) {
  return emulated_shuffle(value, source);
}
template <typename Value>
Value __shfl_xor_sync(unsigned, Value value, int distance) {
  return emulated_shuffle(value, emulator::lane() ^ distance);
}
template <typename Value>
Value __shfl_up_sync(unsigned, Value value, int distance) {
  const int lane = emulator::lane();
  return emulated_shuffle(value, lane >= distance ? lane - distance : lane);
}

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorInvalidConfiguration ? "invalid configuration argument" : "invalid argument";
}

/// No error stays behind here.
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

using cudaStream_t = struct EmulatedStream*;

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);

enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16 };
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
/// So few that a grid of as many blocks as fit goes through its work more than once.
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 1;
  return cudaSuccess;
}

struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

namespace emulator {
cudaError_t run(const cudaLaunchConfig_t& config, const void* kernel, const std::function<void()>& thread);
}  // namespace emulator

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               const Arguments&... arguments) {
  return emulator::run(*config, reinterpret_cast<const void*>(kernel), [&] { kernel(arguments...); });
}
