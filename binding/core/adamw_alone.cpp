#include "core/adamw_alone.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "core/error.h"
#include "core/operators.h"

namespace steadytune {

std::vector<std::vector<float>> adamw_alone(const std::vector<float>& values,
                                            const std::vector<std::vector<float>>& gradients,
                                            const AdamwOptions& options) {
  const at::NoGradGuard no_grad;
  const auto count = static_cast<int64_t>(values.size());
  const at::Tensor parameter = at::tensor(values, at::kFloat);
  const at::Tensor moment1 = at::zeros_like(parameter);
  const at::Tensor moment2 = at::zeros_like(parameter);
  const at::Tensor bounds = at::tensor({int64_t{0}, count}, at::kLong).view({1, 2});
  const at::Tensor settings = at::tensor({1.0, options.weight_decay}, at::kFloat).view({1, 2});
  const at::Tensor flags = at::zeros({1}, at::kInt);
  std::vector<std::vector<float>> after;
  for (const std::vector<float>& values_of_step : gradients) {
    if (values_of_step.size() != values.size()) throw Error("ERR_INTERNAL", "a gradient has another length");
    const at::Tensor gradient = at::tensor(values_of_step, at::kFloat);
    const auto step = static_cast<int64_t>(after.size()) + 1;
    operators::adamw_(parameter, gradient, moment1, moment2, std::nullopt, bounds, settings, flags,
                      operators::squared_norm(gradient, bounds, flags), options.learning_rate, options.beta1,
                      options.beta2, options.eps, options.bias_correction, step, 0, std::nullopt);
    const float* data = parameter.const_data_ptr<float>();
    after.emplace_back(data, data + count);
  }
  return after;
}

}  // namespace steadytune
