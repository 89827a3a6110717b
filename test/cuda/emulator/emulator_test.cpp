#include "emulator.h"

#include <cuda_runtime.h>

#include <vector>

#include "../../core/expect.h"
#include "kernels/cuda/shared_memory.h"

// The emulator itself: what it must notice.
namespace {

cudaError_t start(void (*kernel)(int*), dim3 blocks, dim3 threads, size_t shared_bytes, int* result) {
  cudaLaunchConfig_t config;
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared_bytes;
  return cudaLaunchKernelEx(&config, kernel, result);
}

/// Each thread passes its number to the next one, with a barrier between or without.
template <bool waits>
void pass_on(int* result) {
  int* passed = reinterpret_cast<int*>(steadytune_shared_memory);
  const int thread = static_cast<int>(threadIdx.x);
  passed[thread] = thread;
  if (waits) __syncthreads();
  result[thread] = passed[(thread + 1) % 64];
}

std::vector<int> passed_on(void (*kernel)(int*), emulator::Order order) {
  std::vector<int> result(64);
  emulator::set_order(order);
  static_cast<void>(start(kernel, 1, 64, 64 * sizeof(int), result.data()));
  return result;
}

}  // namespace

TEST("the emulator shows a barrier that is missing") {
  const auto ascending = passed_on(pass_on<false>, emulator::Order::ascending);
  const auto descending = passed_on(pass_on<false>, emulator::Order::descending);
  EXPECT(ascending != descending);
  EXPECT(passed_on(pass_on<true>, emulator::Order::ascending) == passed_on(pass_on<true>, emulator::Order::descending));
  EXPECT_EQUAL(passed_on(pass_on<true>, emulator::Order::ascending)[63], 0);
}

TEST("the emulator refuses barriers and exchanges that not all threads reach") {
  int result = 0;
  const auto leave = [](int*) {
    if (threadIdx.x > 3) __syncthreads();
  };
  EXPECT_THROWS(start(leave, 1, 64, 0, &result), "barrier");
  const auto diverge = [](int*) {
    if (threadIdx.x % 2 == 0) __syncwarp();
  };
  EXPECT_THROWS(start(diverge, 1, 32, 0, &result), "exchange");
}

TEST("the emulator's lanes exchange values as CUDA's do") {
  std::vector<int> result(64);
  const auto kernel = [](int* to) {
    const int mine = static_cast<int>(threadIdx.x) * 10;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int other = __shfl_xor_sync(~0u, mine, 5);
    const int lower = __shfl_up_sync(~0u, mine, 3);
    const int third = __shfl_sync(~0u, mine, 3);
    const unsigned votes = __ballot_sync(~0u, lane % 4 == 1);
    const bool right = other == static_cast<int>(threadIdx.x ^ 5u) * 10 && lower == (lane < 3 ? mine : mine - 30) &&
                       third == (static_cast<int>(threadIdx.x) / 32 * 32 + 3) * 10 && votes == 0x22222222u &&
                       __ffs(static_cast<int>(votes)) == 2;
    to[threadIdx.x] = right ? 1 : 0;
  };
  EXPECT(start(kernel, 1, 64, 0, result.data()) == cudaSuccess);
  EXPECT(result == std::vector<int>(64, 1));
}

TEST("the emulator refuses grids that CUDA refuses") {
  int result = 0;
  const auto nothing = [](int*) {};
  EXPECT(start(nothing, dim3(1, 65536), 32, 0, &result) == cudaErrorInvalidConfiguration);
  EXPECT(start(nothing, 1, 1025, 0, &result) == cudaErrorInvalidConfiguration);
  EXPECT(start(nothing, 0u, 32, 0, &result) == cudaErrorInvalidConfiguration);
  EXPECT(start(nothing, 1, 32, 49 * 1024, &result) == cudaErrorInvalidValue);
}

int main() { return expect::run_all(); }
