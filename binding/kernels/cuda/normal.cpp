#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include "kernels/cuda/operators.h"

namespace steadytune::kernels::cuda {
namespace {

void normal_(at::Tensor& x, double std, int64_t seed, int64_t stream, int64_t layer, int64_t site) {
  const PhiloxKey key = check_normal(x, std, seed, stream, layer, site);
  const OnDevice device("normal_", x);
  device.check(normal(device.stream(), x.mutable_data_ptr<float>(), x.numel(), std, key));
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) { m.impl("normal_", normal_); }

}  // namespace steadytune::kernels::cuda
