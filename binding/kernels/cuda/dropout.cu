#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/masks.h"

namespace steadytune::kernels::cuda {
namespace {

constexpr int threads = 128;

/// A block takes a token and threads * 8 of its columns.
template <typename Scalar>
__global__ void __launch_bounds__(threads)
    dropout_kernel(const Scalar* x, Scalar* y, const TokenMask mask, const Shape shape) {
  const int64_t token = blockIdx.x;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * threads + threadIdx.x) * group_size;
  if (column >= shape.columns) {
    return;
  }
  const int64_t place = token * shape.columns + column;
  const int64_t count = shape.columns - column;
  Group group = load_group(x + place, count);
  TokenDropout(mask, token).apply(column, group);
  store_group(y + place, count, group);
}

}  // namespace

template <typename Scalar>
cudaError_t dropout(cudaStream_t stream, const Scalar* x, Scalar* y, const TokenMask& mask, const Shape& shape) {
  const dim3 blocks(static_cast<unsigned>(shape.tokens), blocks_for(shape.columns, threads * group_size));
  return launch(stream, dropout_kernel<Scalar>, blocks, threads, 0, x, y, mask, shape);
}

template cudaError_t dropout(cudaStream_t, const float*, float*, const TokenMask&, const Shape&);
template cudaError_t dropout(cudaStream_t, const c10::BFloat16*, c10::BFloat16*, const TokenMask&, const Shape&);

}  // namespace steadytune::kernels::cuda
