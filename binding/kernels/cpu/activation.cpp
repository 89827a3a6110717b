#include "kernels/cpu/activation.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include "kernels/checks.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/tokens.h"

namespace steadytune::kernels::cpu {

at::Tensor bias_activation(const at::Tensor& x, const at::Tensor& bias, int64_t activation, const at::Tensor& rows,
                           const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site,
                           int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "bias_activation";
  check_tokens(op, "x", x);
  const int64_t columns = x.size(1);
  check_values(op, "bias", bias, columns, x);
  check_places(op, "x", x, rows, positions);
  const Activation function = checked_activation(op, activation);
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, x);
  at::Tensor y = empty_tokens_like(x);
  const float* offset = bias.const_data_ptr<float>();
  const int32_t* row = rows.const_data_ptr<int32_t>();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  dispatch_floating(x.scalar_type(), [&]<typename Scalar>() {
    const Scalar* from = x.const_data_ptr<Scalar>();
    Scalar* to = y.mutable_data_ptr<Scalar>();
    const auto& kernels = vector_kernels().of<Scalar>();
    const int64_t grain = std::max<int64_t>(1, parallel_grain_elements / columns);
    at::parallel_for(0, x.size(0), grain, [&](int64_t begin, int64_t end) {
      kernels.bias_activation(function, from + begin * columns, offset, to + begin * columns,
                              {row + begin, position + begin, draw}, end - begin, columns);
    });
  });
  return y;
}

std::tuple<at::Tensor, at::Tensor> bias_activation_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                                            const at::Tensor& bias, int64_t activation,
                                                            const at::Tensor& rows, const at::Tensor& positions,
                                                            double p, int64_t seed, int64_t layer, int64_t site,
                                                            int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "bias_activation_backward";
  check_tokens(op, "x", x);
  check_tokens_like(op, "grad_y", grad_y, x);
  const int64_t columns = x.size(1);
  check_values(op, "bias", bias, columns, x);
  check_places(op, "x", x, rows, positions);
  const Activation function = checked_activation(op, activation);
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, x);
  at::Tensor grad_x = empty_tokens_like(x);
  ColumnSums grad_bias(x.size(0), columns);
  const float* offset = bias.const_data_ptr<float>();
  const int32_t* row = rows.const_data_ptr<int32_t>();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  dispatch_floating(x.scalar_type(), [&]<typename Scalar>() {
    const Scalar* input = x.const_data_ptr<Scalar>();
    const Scalar* from = grad_y.const_data_ptr<Scalar>();
    Scalar* to = grad_x.mutable_data_ptr<Scalar>();
    const auto& kernels = vector_kernels().of<Scalar>();
    grad_bias.for_each_chunk([&](int64_t begin, int64_t end, float* part) {
      const int64_t start = begin * columns;
      kernels.bias_activation_backward(function, from + start, input + start, offset, to + start, part,
                                       {row + begin, position + begin, draw}, end - begin, columns);
    });
  });
  return {grad_x, grad_bias.total()};
}

TORCH_LIBRARY_IMPL(steadytune, CPU, m) {
  m.impl("bias_activation", bias_activation);
  m.impl("bias_activation_backward", bias_activation_backward);
}

}  // namespace steadytune::kernels::cpu
