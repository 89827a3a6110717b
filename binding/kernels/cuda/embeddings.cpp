#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "kernels/cuda/operators.h"

namespace steadytune::kernels::cuda {
namespace {

Shape checked_embedding_shape(const char* op, const at::Tensor& word_ids, int64_t columns) {
  TORCH_CHECK(columns <= most_norm_columns, "steadytune::", op, ": ", columns, " columns are more than ",
              most_norm_columns, ", the most on CUDA.");
  return checked_shape(op, word_ids.numel(), columns);
}

/// Ids are not checked: they lie on the device.
std::tuple<at::Tensor, at::Tensor, at::Tensor> embed_operator(
    const at::Tensor& word, const at::Tensor& position, const std::optional<at::Tensor>& segment,
    const at::Tensor& word_ids, const at::Tensor& position_ids, const std::optional<at::Tensor>& segment_ids,
    double word_scale, const at::Tensor& weight, const at::Tensor& norm_bias, double eps, at::ScalarType dtype,
    const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site,
    int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "embed";
  check_embed(op, {word, position, segment, word_ids, position_ids, segment_ids}, weight, norm_bias, eps, dtype, rows,
              positions);
  const Shape shape = checked_embedding_shape(op, word_ids, word.size(1));
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, word);
  const OnDevice device(op, word);
  at::Tensor y = at::empty({shape.tokens, shape.columns}, word.options().dtype(dtype));
  at::Tensor normalized = at::empty({shape.tokens, shape.columns}, word.options());
  at::Tensor rstd = at::empty({shape.tokens}, word.options());
  dispatch_floating(dtype, [&]<typename Scalar>() {
    const Embed<Scalar> tensors{
        .embedding =
            {
                .word = word.const_data_ptr<float>(),
                .position = position.const_data_ptr<float>(),
                .segment = segment ? segment->const_data_ptr<float>() : nullptr,
                .word_ids = word_ids.const_data_ptr<int32_t>(),
                .position_ids = position_ids.const_data_ptr<int32_t>(),
                .segment_ids = segment ? segment_ids->const_data_ptr<int32_t>() : nullptr,
                .word_scale = static_cast<float>(word_scale),
            },
        .weight = weight.const_data_ptr<float>(),
        .norm_bias = norm_bias.const_data_ptr<float>(),
        .eps = static_cast<float>(eps),
        .y = y.mutable_data_ptr<Scalar>(),
        .normalized = normalized.mutable_data_ptr<float>(),
        .rstd = rstd.mutable_data_ptr<float>(),
    };
    device.check(embed(device.stream(), tensors, token_mask(rows, positions, draw), shape));
  });
  return {y, normalized, rstd};
}

std::tuple<at::Tensor, at::Tensor> embed_backward_operator(
    const at::Tensor& grad_y, const at::Tensor& normalized, const at::Tensor& rstd, const at::Tensor& weight,
    const at::Tensor& word_ids, const at::Tensor& position_ids, const std::optional<at::Tensor>& segment_ids,
    double word_scale, const std::optional<at::Tensor>& grad_word, const std::optional<at::Tensor>& grad_position,
    const std::optional<at::Tensor>& grad_segment, const at::Tensor& rows, const at::Tensor& positions, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "embed_backward";
  check_embed_backward(op, grad_y, normalized, rstd, weight, {grad_word, grad_position, grad_segment}, segment_ids,
                       rows, positions);
  check_ids(op, "word_ids", word_ids, grad_y);
  check_ids(op, "position_ids", position_ids, grad_y);
  if (segment_ids) {
    check_ids(op, "segment_ids", *segment_ids, grad_y);
  }
  const Shape shape = checked_shape(op, grad_y);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, grad_y);
  const OnDevice device(op, grad_y);
  at::Tensor means = at::empty({shape.tokens, 2}, weight.options());
  at::Tensor grad_sum = at::empty({shape.tokens, shape.columns}, weight.options());
  at::Tensor parts = at::empty({token_chunks(shape.tokens), 2, shape.columns}, weight.options());
  at::Tensor grad_vectors = at::empty({2, shape.columns}, weight.options());
  const float* grads = grad_sum.const_data_ptr<float>();
  dispatch_floating(grad_y.scalar_type(), [&]<typename Scalar>() {
    const EmbedBackward<Scalar> tensors{
        .grad_y = grad_y.const_data_ptr<Scalar>(),
        .normalized = normalized.const_data_ptr<float>(),
        .rstd = rstd.const_data_ptr<float>(),
        .weight = weight.const_data_ptr<float>(),
        .means = reinterpret_cast<float2*>(means.mutable_data_ptr<float>()),
        .grad_sum = grad_sum.mutable_data_ptr<float>(),
        .parts = parts.mutable_data_ptr<float>(),
        .grad_vectors = grad_vectors.mutable_data_ptr<float>(),
    };
    device.check(embed_backward(device.stream(), tensors, token_mask(rows, positions, draw), shape));
  });
  const auto add = [&](const std::optional<at::Tensor>& table, const at::Tensor& ids, double scale) {
    if (table) {
      device.check(scatter(device.stream(), table->mutable_data_ptr<float>(), ids.const_data_ptr<int32_t>(), grads,
                           static_cast<float>(scale), shape));
    }
  };
  add(grad_word, word_ids, word_scale);
  add(grad_position, position_ids, 1.0);
  if (segment_ids) {
    add(grad_segment, *segment_ids, 1.0);
  }
  return {grad_vectors[0], grad_vectors[1]};
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("embed", embed_operator);
  m.impl("embed_backward", embed_backward_operator);
}

}  // namespace steadytune::kernels::cuda
