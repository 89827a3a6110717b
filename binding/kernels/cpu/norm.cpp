#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cmath>
#include <memory>
#include <optional>
#include <tuple>

#include "kernels/checks.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/tokens.h"

namespace steadytune::kernels::cpu {
namespace {

std::tuple<at::Tensor, at::Tensor, at::Tensor> dropout_add_norm(
    const at::Tensor& x, const at::Tensor& bias, const at::Tensor& residual, const at::Tensor& weight,
    const at::Tensor& norm_bias, double eps, const at::Tensor& rows, const at::Tensor& positions, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "dropout_add_norm";
  check_tokens(op, "x", x);
  check_tokens_like(op, "residual", residual, x);
  const int64_t columns = x.size(1);
  check_values(op, "bias", bias, columns, x);
  check_values(op, "weight", weight, columns, x);
  check_values(op, "norm_bias", norm_bias, columns, x);
  check_places(op, "x", x, rows, positions);
  TORCH_CHECK(eps >= 0.0 && std::isfinite(eps), "steadytune::", op, ": eps = ", eps,
              " must be finite and not negative.");
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, x);
  at::Tensor y = empty_tokens_like(x);
  at::Tensor normalized = empty_tokens_like(x);
  at::Tensor rstd = at::empty({x.size(0)}, weight.options());
  const int32_t* row = rows.const_data_ptr<int32_t>();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  dispatch_floating(x.scalar_type(), [&]<typename Scalar>() {
    const AddNorm<Scalar> all{
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
    const auto& kernels = vector_kernels().of<Scalar>();
    const int64_t grain = std::max<int64_t>(1, parallel_grain_elements / columns);
    at::parallel_for(0, x.size(0), grain, [&](int64_t begin, int64_t end) {
      const auto scratch = std::make_unique_for_overwrite<float[]>(columns);
      const int64_t start = begin * columns;
      AddNorm<Scalar> part = all;
      part.x += start;
      part.residual += start;
      part.y += start;
      part.normalized += start;
      part.rstd += begin;
      kernels.add_norm(part, {row + begin, position + begin, draw}, end - begin, columns, scratch.get());
    });
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
  const int64_t tokens = normalized.size(0);
  const int64_t columns = normalized.size(1);
  check_values(op, "rstd", rstd, tokens, normalized);
  check_values(op, "weight", weight, columns, normalized);
  check_places(op, "normalized", normalized, rows, positions);
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, normalized);
  const bool drops = draw.threshold > 0;
  at::Tensor grad_residual = empty_tokens_like(normalized);
  at::Tensor grad_x = drops ? empty_tokens_like(normalized) : grad_residual;
  ColumnSums sums(tokens, 3 * columns);
  const int32_t* row = rows.const_data_ptr<int32_t>();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  dispatch_floating(normalized.scalar_type(), [&]<typename Scalar>() {
    const Scalar* grads = grad_y.const_data_ptr<Scalar>();
    const Scalar* saved = normalized.const_data_ptr<Scalar>();
    const float* scales = rstd.const_data_ptr<float>();
    const float* weights = weight.const_data_ptr<float>();
    Scalar* to_x = drops ? grad_x.mutable_data_ptr<Scalar>() : nullptr;
    Scalar* to_residual = grad_residual.mutable_data_ptr<Scalar>();
    const auto& kernels = vector_kernels().of<Scalar>();
    sums.for_each_chunk([&](int64_t begin, int64_t end, float* part) {
      const int64_t start = begin * columns;
      kernels.add_norm_backward(
          {
              .grad_y = grads + start,
              .normalized = saved + start,
              .rstd = scales + begin,
              .weight = weights,
              .grad_x = drops ? to_x + start : nullptr,
              .grad_residual = to_residual + start,
              .grad_bias = part,
              .grad_weight = part + columns,
              .grad_norm_bias = part + 2 * columns,
          },
          {row + begin, position + begin, draw}, end - begin, columns);
    });
  });
  const at::Tensor total = sums.total();
  return {grad_x, grad_residual, total.slice(0, 0, columns), total.slice(0, columns, 2 * columns),
          total.slice(0, 2 * columns, 3 * columns)};
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) {
  m.impl("dropout_add_norm", dropout_add_norm);
  m.impl("dropout_add_norm_backward", dropout_add_norm_backward);
}

}  // namespace steadytune::kernels::cpu
