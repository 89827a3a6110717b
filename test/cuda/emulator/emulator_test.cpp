#include "emulator.h"

#include <cuda_runtime.h>

#include <vector>

#include "../../core/expect.h"
#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/mma.h"
#include "kernels/cuda/shared_memory.h"

namespace kernels_cuda = steadytune::kernels::cuda;

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

namespace {

// Where element i of a lane's share stands, as the PTX ISA has it under "Matrix fragments for mma.m16n8k16".
int left_row(int lane, int i) { return lane / 4 + (i < 2 || (i >= 4 && i < 6) ? 0 : 8); }
int left_column(int lane, int i) { return lane % 4 * 2 + (i & 1) + (i >= 4 ? 8 : 0); }
int right_row(int lane, int i) { return lane % 4 * 2 + (i & 1) + (i >= 2 ? 8 : 0); }
int sum_row(int lane, int i) { return lane / 4 + (i < 2 ? 0 : 8); }
int sum_column(int lane, int i) { return lane % 4 * 2 + (i & 1); }

// Whole numbers so small that bfloat16 holds them and float32 their products' sums.
int left_number(int row, int column) { return (row * 31 + column * 17) % 23 - 11; }
int right_number(int row, int column) { return (row * 13 + column * 29) % 19 - 9; }
uint32_t pair_of(int first, int second) {
  return kernels_cuda::bfloat16_bits(static_cast<float>(first)) |
         kernels_cuda::bfloat16_bits(static_cast<float>(second)) << 16;
}

}  // namespace

TEST("the emulator multiplies matrices as a tensor core does") {
  std::vector<int> result(32 * 4);
  const auto kernel = [](int* to) {
    const int lane = static_cast<int>(threadIdx.x);
    kernels_cuda::Fragment left;
    for (int word = 0; word < 4; ++word) {
      const auto number = [&](int i) { return left_number(left_row(lane, i), left_column(lane, i)); };
      left.word[word] = pair_of(number(2 * word), number(2 * word + 1));
    }
    const auto right = [&](int word) {
      const auto number = [&](int i) { return right_number(right_row(lane, i), lane / 4); };
      return pair_of(number(2 * word), number(2 * word + 1));
    };
    float sum[4] = {1.0f, 2.0f, 3.0f, 4.0f};
    kernels_cuda::mma_bf16(sum, left, right(0), right(1));
    for (int i = 0; i < 4; ++i) {
      to[lane * 4 + i] = static_cast<int>(sum[i]);
    }
  };
  for (const auto order : {emulator::Order::ascending, emulator::Order::descending}) {
    emulator::set_order(order);
    EXPECT(start(kernel, 1, 32, 0, result.data()) == cudaSuccess);
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        int expected = i + 1;
        for (int k = 0; k < 16; ++k) {
          expected += left_number(sum_row(lane, i), k) * right_number(k, sum_column(lane, i));
        }
        EXPECT_EQUAL(result[lane * 4 + i], expected);
      }
    }
  }
}

TEST("the emulator loads matrices as CUDA's instruction does, transposed or not") {
  std::vector<int> result(32 * 8);
  const auto kernel = [](int* to) {
    // Four matrices, one below the other; element (row, column) is 8 row + column. Their rows come in another order.
    auto* place = reinterpret_cast<uint16_t*>(steadytune_shared_memory);
    const int lane = static_cast<int>(threadIdx.x);
    const auto place_of = [&](int row) { return place + (row * 5 % 32) * 8; };
    for (int column = 0; column < 8; ++column) {
      place_of(lane)[column] = static_cast<uint16_t>(lane * 8 + column);
    }
    __syncwarp();
    const auto* mine = reinterpret_cast<const c10::BFloat16*>(place_of(lane));
    const kernels_cuda::Fragment plain = kernels_cuda::load_matrices(mine);
    const kernels_cuda::Fragment transposed = kernels_cuda::load_transposed(mine);
    for (int matrix = 0; matrix < 4; ++matrix) {
      to[lane * 8 + matrix] = static_cast<int>(plain.word[matrix]);
      to[lane * 8 + 4 + matrix] = static_cast<int>(transposed.word[matrix]);
    }
  };
  EXPECT(start(kernel, 1, 32, 512, result.data()) == cudaSuccess);
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      const int first = matrix * 64;
      const int across = lane / 4;
      const int along = lane % 4 * 2;
      const int row = first + across * 8 + along;
      EXPECT_EQUAL(result[lane * 8 + matrix], row | (row + 1) << 16);
      const int column = first + along * 8 + across;
      EXPECT_EQUAL(result[lane * 8 + 4 + matrix], column | (column + 8) << 16);
    }
  }
}

TEST("the emulator refuses matrix instructions that CUDA forbids") {
  int result = 0;
  const auto alone = [](int*) {
    float sum[4] = {};
    if (threadIdx.x == 0) kernels_cuda::mma_bf16(sum, {}, 0, 0);
  };
  EXPECT_THROWS(start(alone, 1, 32, 0, &result), "exchange");
  const auto all = [](int*) {
    float sum[4] = {};
    kernels_cuda::mma_bf16(sum, {}, 0, 0);
  };
  EXPECT_THROWS(start(all, 1, 16, 0, &result), "lacks lanes");
  const auto misaligned = [](int*) {
    kernels_cuda::load_matrices(reinterpret_cast<c10::BFloat16*>(steadytune_shared_memory) + 4);
  };
  EXPECT_THROWS(start(misaligned, 1, 32, 32, &result), "16 bytes");
}

namespace {

alignas(16) constexpr int copied[4] = {1, 2, 3, 4};

/// Copies for the first thread, zeros for the second, and then adds up.
template <bool waits>
void copy(int* result) {
  int* place = reinterpret_cast<int*>(steadytune_shared_memory) + threadIdx.x * 4;
  kernels_cuda::copy_async(copied, threadIdx.x == 0, place);
  if (waits) kernels_cuda::wait_for_copies();
  result[threadIdx.x] = place[0] + place[1] + place[2] + place[3];
}

}  // namespace

TEST("the emulator copies asynchronously, and shows a wait that is missing") {
  std::vector<int> result(2);
  EXPECT(start(copy<true>, 1, 2, 32, result.data()) == cudaSuccess);
  EXPECT(result == (std::vector<int>{10, 0}));
  EXPECT(start(copy<false>, 1, 2, 32, result.data()) == cudaSuccess);
  EXPECT(result == (std::vector<int>{-4, -4}));
  const auto misaligned = [](int*) { kernels_cuda::copy_async(copied + 1, true, steadytune_shared_memory); };
  EXPECT_THROWS(start(misaligned, 1, 1, 32, result.data()), "16 bytes");
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
