#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "kernels/cuda/operators.h"

namespace steadytune::kernels::cuda {
namespace {

/// The mask of a call, and the tensor that holds a given one.
struct Mask {
  MixoutMask mask;
  at::Tensor given;
};

/// `scaled`: factors have the 1 / (1 - p) in them.
Mask mask_of(const char* op, const at::Tensor& matrix, const MixoutArguments& arguments,
             const std::optional<at::Tensor>& counter, bool scaled) {
  const std::vector<MixoutDraw> draws = check_mixout(op, matrix, arguments, scaled);
  TORCH_CHECK(draws.size() <= most_mixout_parts, "steadytune::", op, ": ", draws.size(),
              " stacked parameters are more than ", most_mixout_parts, ", the most on CUDA.");
  Mask result{};
  std::copy(draws.begin(), draws.end(), result.mask.draws);
  result.mask.parts = static_cast<int64_t>(draws.size());
  result.mask.rows = matrix.size(0);
  result.mask.columns = matrix.size(1);
  result.mask.column = arguments.column;
  result.mask.counter = check_counter(op, counter, matrix);
  if (arguments.mask.has_value() && arguments.mask->defined()) {
    result.given = arguments.mask->to(at::kBool).contiguous();
    result.mask.given = result.given.const_data_ptr<bool>();
    result.mask.given_scale = scaled ? static_cast<float>(1.0 / (1.0 - arguments.p[0])) : 1.0f;
  }
  return result;
}

at::Tensor mixout_operator(const at::Tensor& values, const at::Tensor& target, const std::optional<at::Tensor>& mask,
                           at::ArrayRef<double> p, bool column, bool /*exact_gradient*/, at::ScalarType dtype,
                           int64_t seed, int64_t layer, int64_t site, int64_t step, int64_t micro_batch,
                           const std::optional<at::Tensor>& counter) {
  const char* op = "mixout";
  check_mixout_values(values, target, dtype);
  const OnDevice device(op, values);
  const Mask drawn = mask_of(op, values, {mask, p, column, seed, layer, site, step, micro_batch}, counter, true);
  at::Tensor output = at::empty(values.sizes(), values.options().dtype(dtype));
  dispatch_floating(dtype, [&]<typename Scalar>() {
    device.check(mixout(device.stream(), drawn.mask, values.const_data_ptr<float>(), target.const_data_ptr<float>(),
                        output.mutable_data_ptr<Scalar>()));
  });
  return output;
}

at::Tensor mixout_backward_operator(const at::Tensor& grad_output_any, const std::optional<at::Tensor>& mask,
                                    at::ArrayRef<double> p, bool column, bool exact_gradient, int64_t seed,
                                    int64_t layer, int64_t site, int64_t step, int64_t micro_batch,
                                    const std::optional<at::Tensor>& counter) {
  const char* op = "mixout_backward";
  check_floating(op, "grad_output", grad_output_any, 2);
  const OnDevice device(op, grad_output_any);
  const at::Tensor grad_output = grad_output_any.contiguous();
  const Mask drawn =
      mask_of(op, grad_output, {mask, p, column, seed, layer, site, step, micro_batch}, counter, exact_gradient);
  at::Tensor grad_values = at::empty(grad_output.sizes(), grad_output.options().dtype(at::kFloat));
  dispatch_floating(grad_output.scalar_type(), [&]<typename Scalar>() {
    device.check(mixout_backward(device.stream(), drawn.mask, grad_output.const_data_ptr<Scalar>(),
                                 grad_values.mutable_data_ptr<float>()));
  });
  return grad_values;
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("mixout", mixout_operator);
  m.impl("mixout_backward", mixout_backward_operator);
}

}  // namespace steadytune::kernels::cuda
