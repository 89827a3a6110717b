#include "core/mixout_alone.h"

#include <ATen/ATen.h>

#include "core/error.h"
#include "core/operators.h"

namespace steadytune {
namespace {

at::Tensor matrix(const std::vector<float>& values, int64_t columns) {
  if (columns < 1 || static_cast<int64_t>(values.size()) % columns != 0) {
    throw Error("ERR_INTERNAL", "a matrix of " + std::to_string(values.size()) + " values cannot have " +
                                    std::to_string(columns) + " columns");
  }
  return at::tensor(values, at::kFloat).view({-1, columns});
}

std::vector<float> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

}  // namespace

MixedLinearResult mixout_alone(const MixedLinear& layer, const Mixout& mixout) {
  at::Tensor x = matrix(layer.x, layer.inputs).requires_grad_(true);
  at::Tensor weight = matrix(layer.weight, layer.inputs).requires_grad_(true);
  at::Tensor bias = matrix(layer.bias, layer.outputs).squeeze(0).requires_grad_(true);
  const at::Tensor mixed =
      operators::mixout(weight, matrix(layer.target, layer.inputs), matrix(layer.mask, layer.inputs), {mixout.p},
                        mixout.column, mixout.exact_gradient, at::kFloat, 0, 0, 0, 0, 0);
  const at::Tensor output = at::linear(x, mixed, bias);
  output.backward(matrix(layer.grad_output, layer.outputs));
  return {values_of(output), values_of(x.grad()), values_of(weight.grad()), values_of(bias.grad())};
}

}  // namespace steadytune
