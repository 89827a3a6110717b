#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/normal.h"

namespace steadytune::kernels::cuda {
namespace {

constexpr int threads = 256;
/// Elements that share one Philox block.
constexpr int block_elements = 4;

__global__ void __launch_bounds__(threads) normal_kernel(float* x, int64_t count, double std, PhiloxKey key) {
  const int64_t block = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  double normals[block_elements];
  normal_block(key, static_cast<uint64_t>(block), normals);
  for (int i = 0; i < block_elements; ++i) {
    const int64_t element = block * block_elements + i;
    if (element < count) {
      x[element] = static_cast<float>(std * normals[i]);
    }
  }
}

}  // namespace

cudaError_t normal(cudaStream_t stream, float* x, int64_t count, double std, PhiloxKey key) {
  const unsigned blocks = blocks_for(count, threads * block_elements);
  return launch(stream, normal_kernel, blocks, threads, 0, x, count, std, key);
}

}  // namespace steadytune::kernels::cuda
