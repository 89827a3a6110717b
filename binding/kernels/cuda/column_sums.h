#pragma once

#include "kernels/cuda/elements.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"

// Sums over tokens for each column, without atomic additions: a block sums chunk_tokens tokens of 256 columns, and a
// second kernel sums the blocks' parts in order. Included by *.cu alone.
namespace steadytune::kernels::cuda {

/// Each warp takes every fourth token of the chunk, each lane eight columns.
inline constexpr int chunk_warps = 4;
inline constexpr int chunk_columns = warp_size * group_size;
inline dim3 chunk_threads() { return {warp_size, chunk_warps}; }
inline dim3 chunk_blocks(const Shape& shape) {
  return {blocks_for(shape.columns, chunk_columns), static_cast<unsigned>(token_chunks(shape.tokens))};
}

/// Calls body(token, column, count, total) for the groups of this thread, which adds to its `total` [sums], and writes
/// the block's sums to `parts` [chunks, sums * columns].
template <int sums, typename Body>
__device__ void sum_chunk(const Shape& shape, float* parts, const Body& body) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * chunk_columns + threadIdx.x * group_size;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * chunk_tokens;
  Group total[sums] = {};
  if (column < shape.columns) {
    for (int64_t i = threadIdx.y; i < chunk_tokens && first + i < shape.tokens; i += chunk_warps) {
      body(first + i, column, shape.columns - column, total);
    }
  }
  __shared__ float of_warps[sums][chunk_warps][chunk_columns];
  for (int sum = 0; sum < sums; ++sum) {
    for (int i = 0; i < group_size; ++i) {
      of_warps[sum][threadIdx.y][threadIdx.x * group_size + i] = total[sum].of[i];
    }
  }
  __syncthreads();
  const int thread = threadIdx.y * warp_size + threadIdx.x;
  for (int i = thread; i < sums * chunk_columns; i += warp_size * chunk_warps) {
    const int sum = i / chunk_columns;
    const int inner = i % chunk_columns;
    const int64_t target = static_cast<int64_t>(blockIdx.x) * chunk_columns + inner;
    if (target < shape.columns) {
      float value = of_warps[sum][0][inner];
      for (int warp = 1; warp < chunk_warps; ++warp) {
        value += of_warps[sum][warp][inner];
      }
      parts[(blockIdx.y * static_cast<int64_t>(sums) + sum) * shape.columns + target] = value;
    }
  }
}

inline constexpr int total_rows = 8;

/// result [columns] = parts [chunks, columns] summed over chunks; blocks of [32, total_rows].
__global__ static void total_kernel(const float* parts, int64_t chunks, int64_t columns, float* result) {
  __shared__ float of_rows[total_rows][warp_size];
  const int64_t column = static_cast<int64_t>(blockIdx.x) * warp_size + threadIdx.x;
  float sum = 0.0f;
  if (column < columns) {
    for (int64_t chunk = threadIdx.y; chunk < chunks; chunk += total_rows) {
      sum += parts[chunk * columns + column];
    }
  }
  of_rows[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && column < columns) {
    for (int row = 1; row < total_rows; ++row) {
      sum += of_rows[row][threadIdx.x];
    }
    result[column] = sum;
  }
}

inline cudaError_t total(cudaStream_t stream, const float* parts, int64_t tokens, int64_t columns, float* result) {
  return launch(stream, total_kernel, blocks_for(columns, warp_size), dim3(warp_size, total_rows), 0, parts,
                token_chunks(tokens), columns, result);
}

}  // namespace steadytune::kernels::cuda
