#pragma once

#include <c10/util/BFloat16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/elements.h"
#include "kernels/cuda/reduce.h"

// Products of small matrices of bfloat16 by tensor cores. A warp makes each of them together, and its lanes share the
// elements as the instruction set prescribes: with g = lane / 4 and t = lane % 4,
//
//   left [16, 16]    words 0 .. 3: of rows g, g + 8, g, g + 8, columns 2t, 2t + 1 of the first half twice, then of the
//                    second half
//   right [16, 8]    words 0, 1: of column g, rows 2t, 2t + 1 of the first half, then of the second half
//   result [16, 8]   elements 0 .. 3: of rows g, g, g + 8, g + 8, columns 2t, 2t + 1, 2t, 2t + 1
//
// A word holds two elements, the first in its lower half. So two results side by side have the lanes' share of a left
// factor. Included by *.cu alone.
namespace steadytune::kernels::cuda {

/// A lane's words of a left factor, or of two right ones.
struct Fragment {
  uint32_t word[4];
};

/// Where element i of a lane's share of a result stands.
__device__ __forceinline__ int result_row(int i) { return static_cast<int>(threadIdx.x) / 4 + i / 2 * 8; }
__device__ __forceinline__ int result_column(int i) { return static_cast<int>(threadIdx.x) % 4 * 2 + i % 2; }

/// sum [16, 8] += left [16, 16] right [16, 8].
__device__ __forceinline__ void mma_bf16(float (&sum)[4], const Fragment& left, uint32_t right0, uint32_t right1) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(left.word[0]), "r"(left.word[1]), "r"(left.word[2]), "r"(left.word[3]), "r"(right0), "r"(right1));
#else
  emulator::multiply_matrices(sum, left.word, right0, right1);
#endif
}

/// Four matrices [8, 8] from shared memory: lane l has the place of row l % 8 of matrix l / 8, 16 bytes at a boundary
/// of 16. Word m is of matrix m: of row g, columns 2t and 2t + 1.
__device__ __forceinline__ Fragment load_matrices(const c10::BFloat16* row) {
  Fragment loaded;
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(loaded.word[0]), "=r"(loaded.word[1]), "=r"(loaded.word[2]), "=r"(loaded.word[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#else
  emulator::load_matrices(row, false, loaded.word);
#endif
  return loaded;
}

/// The same, but word m is of the transposed matrix: of column g, rows 2t and 2t + 1.
__device__ __forceinline__ Fragment load_transposed(const c10::BFloat16* row) {
  Fragment loaded;
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(loaded.word[0]), "=r"(loaded.word[1]), "=r"(loaded.word[2]), "=r"(loaded.word[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#else
  emulator::load_matrices(row, true, loaded.word);
#endif
  return loaded;
}

/// A word of a factor: both rounded to nearest, ties to even. A NaN stays one, but not with the bits that
/// bfloat16_bits gives it.
__device__ __forceinline__ uint32_t rounded_pair(float first, float second) {
#if defined(__CUDACC__)
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
#else
  return bfloat16_bits(first) | bfloat16_bits(second) << 16;
#endif
}

}  // namespace steadytune::kernels::cuda
