#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cstdint>
#include <optional>
#include <tuple>

#include "kernels/checks.h"

/// head_loss and its backward, written once: matrix products are libtorch's, and `Device` has the kernels between them:
///   bias_activation, bias_activation_backward: the device's operators of these names;
///   losses(logits, labels, loss, grad_logits): fills the last two;
///   scale(grad_loss, grad_logits, scaled, sums): `scaled` as grad_logits, `sums` over the rows of that.
namespace steadytune::kernels {

template <typename Device>
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> head_loss(
    const at::Tensor& x, const at::Tensor& dense, const at::Tensor& dense_bias, const at::Tensor& output,
    const at::Tensor& output_bias, const std::optional<at::Tensor>& labels, int64_t activation, const at::Tensor& rows,
    const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
    const std::optional<at::Tensor>& counter) {
  check_head("head_loss", x, dense, output, output_bias);
  const bool labelled = labels.has_value() && labels->defined();
  if (labelled) check_labels("head_loss", *labels, output, x);
  const at::Tensor widened = at::mm(x, dense.t());
  const at::Tensor pooled =
      Device::bias_activation(widened, dense_bias, activation, rows, positions, p, seed, layer, site, step, counter);
  const at::Tensor logits = at::addmm(output_bias, pooled, output.t());
  if (!labelled) return {widened, pooled, logits, at::zeros({}, logits.options()), at::zeros_like(logits)};
  const at::Tensor loss = at::empty({}, logits.options());
  const at::Tensor grad_logits = at::empty_like(logits);
  Device::losses(logits, *labels, loss, grad_logits);
  return {widened, pooled, logits, loss, grad_logits};
}

template <typename Device>
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> head_loss_backward(
    const at::Tensor& grad_loss, const at::Tensor& grad_logits, const at::Tensor& widened, const at::Tensor& dense_bias,
    const at::Tensor& output, int64_t activation, const at::Tensor& rows, const at::Tensor& positions, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const std::optional<at::Tensor>& counter) {
  check_head_backward("head_loss_backward", grad_loss, grad_logits, widened, output);
  const at::Tensor scaled = at::empty_like(grad_logits);
  const at::Tensor grad_output_bias = at::empty({output.size(0)}, output.options());
  Device::scale(grad_loss, grad_logits, scaled, grad_output_bias);
  auto [grad_widened, grad_dense_bias] = Device::bias_activation_backward(
      at::mm(scaled, output), widened, dense_bias, activation, rows, positions, p, seed, layer, site, step, counter);
  return {scaled, grad_widened, grad_dense_bias, grad_output_bias};
}

}  // namespace steadytune::kernels
