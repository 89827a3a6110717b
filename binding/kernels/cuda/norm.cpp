#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <cmath>
#include <optional>
#include <tuple>

#include "kernels/cuda/operators.h"

namespace steadytune::kernels::cuda {
namespace {

void check_columns(const char* op, const Shape& shape) {
  TORCH_CHECK(shape.columns <= most_norm_columns, "steadytune::", op, ": ", shape.columns, " columns are more than ",
              most_norm_columns, ", the most on CUDA.");
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> dropout_add_norm(
    const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual, const at::Tensor& weight,
    const at::Tensor& norm_bias, double eps, const at::Tensor& rows, const at::Tensor& positions, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "dropout_add_norm";
  check_tokens(op, "x", x);
  check_tokens_like(op, "residual", residual, x);
  const Shape shape = checked_shape(op, x);
  check_columns(op, shape);
  check_values(op, "bias", bias, shape.columns, x);
  check_values(op, "weight", weight, shape.columns, x);
  check_values(op, "norm_bias", norm_bias, shape.columns, x);
  check_places(op, "x", x, rows, positions);
  TORCH_CHECK(eps >= 0.0 && std::isfinite(eps), "steadytune::", op, ": eps = ", eps,
              " must be finite and not negative.");
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, x);
  const OnDevice device(op, x);
  at::Tensor y = at::empty_like(x);
  at::Tensor normalized = at::empty_like(x);
  at::Tensor rstd = at::empty({shape.tokens}, weight.options());
  dispatch_floating(x.scalar_type(), [&]<typename Scalar>() {
    const AddNorm<Scalar> tensors{
        .x = x.const_data_ptr<Scalar>(),
        .bias = bias.const_data_ptr<float>(),
        .residual = residual.const_data_ptr<Scalar>(),
        .weight = weight.const_data_ptr<float>(),
        .norm_bias = norm_bias.const_data_ptr<float>(),
        .eps = static_cast<float>(eps),
        .y = y.mutable_data_ptr<Scalar>(),
        .normalized = normalized.mutable_data_ptr<Scalar>(),
        .rstd = rstd.mutable_data_ptr<float>(),
    };
    device.check(add_norm(device.stream(), tensors, token_mask(rows, positions, draw), shape));
  });
  return {y, normalized, rstd};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> dropout_add_norm_backward(
    const at::Tensor& grad_y, const at::Tensor& normalized, const at::Tensor& rstd, const at::Tensor& weight,
    const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site,
    int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "dropout_add_norm_backward";
  check_tokens(op, "normalized", normalized);
  check_tokens_like(op, "grad_y", grad_y, normalized);
  const Shape shape = checked_shape(op, normalized);
  check_values(op, "rstd", rstd, shape.tokens, normalized);
  check_values(op, "weight", weight, shape.columns, normalized);
  check_places(op, "normalized", normalized, rows, positions);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, normalized);
  const bool drops = draw.draw.threshold > 0;
  const OnDevice device(op, normalized);
  at::Tensor grad_residual = at::empty_like(normalized);
  at::Tensor grad_x = drops ? at::empty_like(normalized) : grad_residual;
  at::Tensor means = at::empty({shape.tokens, 2}, weight.options());
  at::Tensor parts = at::empty({token_chunks(shape.tokens), 3, shape.columns}, weight.options());
  at::Tensor grad_vectors = at::empty({3, shape.columns}, weight.options());
  dispatch_floating(normalized.scalar_type(), [&]<typename Scalar>() {
    const AddNormBackward<Scalar> tensors{
        .grad_y = grad_y.const_data_ptr<Scalar>(),
        .normalized = normalized.const_data_ptr<Scalar>(),
        .rstd = rstd.const_data_ptr<float>(),
        .weight = weight.const_data_ptr<float>(),
        .grad_x = drops ? grad_x.mutable_data_ptr<Scalar>() : nullptr,
        .grad_residual = grad_residual.mutable_data_ptr<Scalar>(),
        .means = reinterpret_cast<float2*>(means.mutable_data_ptr<float>()),
        .parts = parts.mutable_data_ptr<float>(),
        .grad_vectors = grad_vectors.mutable_data_ptr<float>(),
    };
    device.check(add_norm_backward(device.stream(), tensors, token_mask(rows, positions, draw), shape));
  });
  return {grad_x, grad_residual, grad_vectors[0], grad_vectors[1], grad_vectors[2]};
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("dropout_add_norm", dropout_add_norm);
  m.impl("dropout_add_norm_backward", dropout_add_norm_backward);
}

}  // namespace steadytune::kernels::cuda
