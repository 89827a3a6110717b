#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "kernels/checks.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/tokens.h"

namespace steadytune::kernels::cpu {
namespace {

const int32_t* checked_ids(const char* op, const char* name, const at::Tensor& ids, const at::Tensor& tokens,
                           int64_t limit) {
  check_ids(op, name, ids, tokens);
  const int32_t* data = ids.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < ids.numel(); ++i) {
    TORCH_CHECK(data[i] >= 0 && data[i] < limit, "steadytune::", op, ": ", name, " holds ", data[i], ", outside 0 .. ",
                limit - 1, ".");
  }
  return data;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> embed(
    const at::Tensor& word, const at::Tensor& position, const std::optional<at::Tensor>& segment,
    const at::Tensor& word_ids, const at::Tensor& position_ids, const std::optional<at::Tensor>& segment_ids,
    double word_scale, const at::Tensor& weight, const at::Tensor& norm_bias, double eps, at::ScalarType dtype,
    const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site,
    int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "embed";
  check_embed(op, {word, position, segment, word_ids, position_ids, segment_ids}, weight, norm_bias, eps, dtype, rows,
              positions);
  const int64_t tokens = word_ids.numel();
  const int64_t columns = word.size(1);
  const EmbeddingRows all_rows{{
      .word = checked_ids(op, "word_ids", word_ids, word_ids, word.size(0)),
      .position = checked_ids(op, "position_ids", position_ids, word_ids, position.size(0)),
      .segment = segment ? checked_ids(op, "segment_ids", *segment_ids, word_ids, segment->size(0)) : nullptr,
  }};
  at::Tensor y = empty_tokens(tokens, columns, word.options().dtype(dtype));
  at::Tensor normalized = at::empty({tokens, columns}, word.options());
  at::Tensor rstd = at::empty({tokens}, word.options());
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, word);
  const int32_t* row = rows.const_data_ptr<int32_t>();
  const int32_t* place = positions.const_data_ptr<int32_t>();
  dispatch_floating(dtype, [&]<typename Scalar>() {
    const Embed<Scalar> all{
        .tables = {word.const_data_ptr<float>(), position.const_data_ptr<float>(),
                   segment ? segment->const_data_ptr<float>() : nullptr},
        .rows = all_rows,
        .word_scale = static_cast<float>(word_scale),
        .weight = weight.const_data_ptr<float>(),
        .norm_bias = norm_bias.const_data_ptr<float>(),
        .eps = static_cast<float>(eps),
        .y = y.mutable_data_ptr<Scalar>(),
        .normalized = normalized.mutable_data_ptr<float>(),
        .rstd = rstd.mutable_data_ptr<float>(),
    };
    const int64_t grain = std::max<int64_t>(1, parallel_grain_elements / columns);
    at::parallel_for(0, tokens, grain, [&](int64_t begin, int64_t end) {
      Embed<Scalar> part = all;
      part.rows = all_rows.from(begin);
      part.y += begin * columns;
      part.normalized += begin * columns;
      part.rstd += begin;
      vector_kernels().of<Scalar>().embed(part, {row + begin, place + begin, draw}, end - begin, columns);
    });
  });
  return {y, normalized, rstd};
}

/// table[ids[t]] += scale grads[t] for every token in order. Threads share columns, so that no two meet in an element
/// and the order of its sum never changes.
void scatter(float* table, const int32_t* ids, const float* grads, float scale, int64_t tokens, int64_t columns) {
  if (table == nullptr) return;
  constexpr int64_t line = 64;
  const int64_t lines = (columns + line - 1) / line;
  at::parallel_for(0, lines, std::max<int64_t>(1, parallel_grain_elements / std::max<int64_t>(1, tokens * line)),
                   [&](int64_t first, int64_t last) {
                     const int64_t begin = first * line;
                     const int64_t end = std::min(columns, last * line);
                     for (int64_t token = 0; token < tokens; ++token) {
                       float* to = table + ids[token] * columns;
                       const float* from = grads + token * columns;
                       for (int64_t column = begin; column < end; ++column) to[column] += scale * from[column];
                     }
                   });
}

float* gradient_of(const std::optional<at::Tensor>& table) {
  return table ? table->mutable_data_ptr<float>() : nullptr;
}

std::tuple<at::Tensor, at::Tensor> embed_backward(
    const at::Tensor& grad_y, const at::Tensor& normalized, const at::Tensor& rstd, const at::Tensor& weight,
    const at::Tensor& word_ids, const at::Tensor& position_ids, const std::optional<at::Tensor>& segment_ids,
    double word_scale, const std::optional<at::Tensor>& grad_word, const std::optional<at::Tensor>& grad_position,
    const std::optional<at::Tensor>& grad_segment, const at::Tensor& rows, const at::Tensor& positions, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "embed_backward";
  check_embed_backward(op, grad_y, normalized, rstd, weight, {grad_word, grad_position, grad_segment}, segment_ids,
                       rows, positions);
  const int64_t tokens = grad_y.size(0);
  const int64_t columns = grad_y.size(1);
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, grad_y);
  const auto largest = [](const std::optional<at::Tensor>& table) { return table ? table->size(0) : INT32_MAX; };
  const int32_t* words = checked_ids(op, "word_ids", word_ids, grad_y, largest(grad_word));
  const int32_t* places = checked_ids(op, "position_ids", position_ids, grad_y, largest(grad_position));
  const int32_t* segments =
      segment_ids ? checked_ids(op, "segment_ids", *segment_ids, grad_y, largest(grad_segment)) : nullptr;
  float* to_words = gradient_of(grad_word);
  float* to_places = gradient_of(grad_position);
  float* to_segments = gradient_of(grad_segment);

  const at::Tensor grad_sum = at::empty({tokens, columns}, weight.options());
  ColumnSums sums(tokens, 2 * columns);
  const int32_t* row = rows.const_data_ptr<int32_t>();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  float* grads = grad_sum.mutable_data_ptr<float>();
  dispatch_floating(grad_y.scalar_type(), [&]<typename Scalar>() {
    sums.for_each_chunk([&](int64_t begin, int64_t end, float* part) {
      const int64_t start = begin * columns;
      vector_kernels().of<Scalar>().embed_backward(
          {
              .grad_y = grad_y.const_data_ptr<Scalar>() + start,
              .normalized = normalized.const_data_ptr<float>() + start,
              .rstd = rstd.const_data_ptr<float>() + begin,
              .weight = weight.const_data_ptr<float>(),
              .grad_sum = grads + start,
              .grad_weight = part,
              .grad_norm_bias = part + columns,
          },
          {row + begin, position + begin, draw}, end - begin, columns);
    });
  });
  scatter(to_words, words, grads, static_cast<float>(word_scale), tokens, columns);
  scatter(to_places, places, grads, 1.0f, tokens, columns);
  scatter(to_segments, segments, grads, 1.0f, tokens, columns);
  const at::Tensor total = sums.total();
  return {total.slice(0, 0, columns), total.slice(0, columns, 2 * columns)};
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) {
  m.impl("embed", embed);
  m.impl("embed_backward", embed_backward);
}

}  // namespace steadytune::kernels::cpu
