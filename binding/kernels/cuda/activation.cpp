#include "kernels/cuda/activation.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "kernels/cuda/operators.h"

namespace steadytune::kernels::cuda {

at::Tensor bias_activation_operator(const at::Tensor& x, const at::Tensor& bias, int64_t activation,
                                    const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed,
                                    int64_t layer, int64_t site, int64_t step,
                                    const std::optional<at::Tensor>& counter) {
  const char* op = "bias_activation";
  check_tokens(op, "x", x);
  check_values(op, "bias", bias, x.size(1), x);
  check_places(op, "x", x, rows, positions);
  const Activation function = checked_activation(op, activation);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, x);
  const OnDevice device(op, x);
  const Shape shape = checked_shape(op, x);
  at::Tensor y = at::empty_like(x);
  dispatch_floating(x.scalar_type(), [&]<typename Scalar>() {
    device.check(bias_activation(device.stream(), function, x.const_data_ptr<Scalar>(), bias.const_data_ptr<float>(),
                                 y.mutable_data_ptr<Scalar>(), token_mask(rows, positions, draw), shape));
  });
  return y;
}

std::tuple<at::Tensor, at::Tensor> bias_activation_backward_operator(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& bias, int64_t activation, const at::Tensor& rows,
    const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
    const std::optional<at::Tensor>& counter) {
  const char* op = "bias_activation_backward";
  check_tokens(op, "x", x);
  check_tokens_like(op, "grad_y", grad_y, x);
  check_values(op, "bias", bias, x.size(1), x);
  check_places(op, "x", x, rows, positions);
  const Activation function = checked_activation(op, activation);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, x);
  const OnDevice device(op, x);
  const Shape shape = checked_shape(op, x);
  at::Tensor grad_x = at::empty_like(x);
  at::Tensor grad_bias = at::empty({shape.columns}, bias.options());
  at::Tensor parts = at::empty({token_chunks(shape.tokens), shape.columns}, bias.options());
  dispatch_floating(x.scalar_type(), [&]<typename Scalar>() {
    device.check(bias_activation_backward(
        device.stream(), function, grad_y.const_data_ptr<Scalar>(), x.const_data_ptr<Scalar>(),
        bias.const_data_ptr<float>(), grad_x.mutable_data_ptr<Scalar>(), parts.mutable_data_ptr<float>(),
        grad_bias.mutable_data_ptr<float>(), token_mask(rows, positions, draw), shape));
  });
  return {grad_x, grad_bias};
}

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("bias_activation", bias_activation_operator);
  m.impl("bias_activation_backward", bias_activation_backward_operator);
}

}  // namespace steadytune::kernels::cuda
