#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <optional>

#include "kernels/cuda/operators.h"

namespace steadytune::kernels::cuda {
namespace {

at::Tensor dropout_operator(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& positions, double p,
                            int64_t seed, int64_t layer, int64_t site, int64_t step,
                            const std::optional<at::Tensor>& counter) {
  const char* op = "dropout";
  check_dropout(x, rows, positions);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, x);
  if (draw.draw.threshold == 0) {
    return x;
  }
  const OnDevice device(op, x);
  const at::Tensor input = x.contiguous();
  at::Tensor output = at::empty_like(input);
  const Shape shape = checked_shape(op, input);
  dispatch_floating(input.scalar_type(), [&]<typename Scalar>() {
    device.check(dropout(device.stream(), input.const_data_ptr<Scalar>(), output.mutable_data_ptr<Scalar>(),
                         token_mask(rows, positions, draw), shape));
  });
  return output;
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) { m.impl("dropout", dropout_operator); }

}  // namespace steadytune::kernels::cuda
