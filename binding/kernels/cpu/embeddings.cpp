#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cmath>
#include <optional>
#include <tuple>

#include "kernels/checks.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/tokens.h"

namespace steadytune::kernels::cpu {
namespace {

const int32_t* checked_ids(const char* op, const char* name, const at::Tensor& ids, int64_t tokens, int64_t limit) {
  check_tensor(op, name, ids, at::kInt, 1);
  TORCH_CHECK(ids.numel() == tokens, "steadytune::", op, ": ", name, " has ", ids.numel(), " elements, not ", tokens,
              ".");
  const int32_t* data = ids.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < tokens; ++i) {
    TORCH_CHECK(data[i] >= 0 && data[i] < limit, "steadytune::", op, ": ", name, " holds ", data[i], ", outside 0 .. ",
                limit - 1, ".");
  }
  return data;
}

void check_table(const char* op, const char* name, const at::Tensor& table, int64_t columns) {
  check_tensor(op, name, table, at::kFloat, 2);
  TORCH_CHECK(table.size(1) == columns, "steadytune::", op, ": ", name, " has ", table.size(1), " columns, not ",
              columns, ".");
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> embed(const at::Tensor& word, const at::Tensor& position,
                                                     const std::optional<at::Tensor>& segment,
                                                     const at::Tensor& word_ids, const at::Tensor& position_ids,
                                                     const std::optional<at::Tensor>& segment_ids, double word_scale,
                                                     const at::Tensor& weight, const at::Tensor& norm_bias, double eps,
                                                     at::ScalarType dtype, const at::Tensor& rows,
                                                     const at::Tensor& positions, double p, int64_t seed, int64_t layer,
                                                     int64_t site, int64_t step) {
  const char* op = "embed";
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "steadytune::", op,
              ": dtype must be float32 or bfloat16, not ", dtype, ".");
  TORCH_CHECK(word.dim() == 2 && word.size(1) > 0, "steadytune::", op, ": word is ", word.sizes(), ".");
  TORCH_CHECK(segment.has_value() == segment_ids.has_value(), "steadytune::", op,
              ": a table of segments and segment_ids go together.");
  const int64_t tokens = word_ids.numel();
  const int64_t columns = word.size(1);
  check_table(op, "word", word, columns);
  check_table(op, "position", position, columns);
  if (segment) check_table(op, "segment", *segment, columns);
  const EmbeddingRows all_rows{{
      .word = checked_ids(op, "word_ids", word_ids, tokens, word.size(0)),
      .position = checked_ids(op, "position_ids", position_ids, tokens, position.size(0)),
      .segment = segment ? checked_ids(op, "segment_ids", *segment_ids, tokens, segment->size(0)) : nullptr,
  }};
  at::Tensor y = empty_tokens(tokens, columns, word.options().dtype(dtype));
  at::Tensor normalized = at::empty({tokens, columns}, word.options());
  at::Tensor rstd = at::empty({tokens}, word.options());
  check_values(op, "weight", weight, columns, normalized);
  check_values(op, "norm_bias", norm_bias, columns, normalized);
  check_places(op, "y", y, rows, positions);
  TORCH_CHECK(eps >= 0.0 && std::isfinite(eps), "steadytune::", op, ": eps = ", eps,
              " must be finite and not negative.");
  const DropoutDraw draw = checked_draw(op, Stream::dropout, p, seed, layer, site, step);
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

float* checked_gradient(const char* op, const char* name, const std::optional<at::Tensor>& table, int64_t columns) {
  if (!table) return nullptr;
  check_table(op, name, *table, columns);
  return table->mutable_data_ptr<float>();
}

std::tuple<at::Tensor, at::Tensor> embed_backward(
    const at::Tensor& grad_y, const at::Tensor& normalized, const at::Tensor& rstd, const at::Tensor& weight,
    const at::Tensor& word_ids, const at::Tensor& position_ids, const std::optional<at::Tensor>& segment_ids,
    double word_scale, const std::optional<at::Tensor>& grad_word, const std::optional<at::Tensor>& grad_position,
    const std::optional<at::Tensor>& grad_segment, const at::Tensor& rows, const at::Tensor& positions, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step) {
  const char* op = "embed_backward";
  check_tokens(op, "grad_y", grad_y);
  const int64_t tokens = grad_y.size(0);
  const int64_t columns = grad_y.size(1);
  check_tensor(op, "normalized", normalized, at::kFloat, 2);
  TORCH_CHECK(normalized.sizes() == grad_y.sizes(), "steadytune::", op, ": normalized is ", normalized.sizes(),
              ", not ", grad_y.sizes(), ".");
  check_values(op, "rstd", rstd, tokens, grad_y);
  check_values(op, "weight", weight, columns, grad_y);
  check_places(op, "grad_y", grad_y, rows, positions);
  TORCH_CHECK(!grad_segment || segment_ids, "steadytune::", op, ": grad_segment needs segment_ids.");
  const DropoutDraw draw = checked_draw(op, Stream::dropout, p, seed, layer, site, step);
  const auto largest = [](const std::optional<at::Tensor>& table) { return table ? table->size(0) : INT32_MAX; };
  const int32_t* words = checked_ids(op, "word_ids", word_ids, tokens, largest(grad_word));
  const int32_t* places = checked_ids(op, "position_ids", position_ids, tokens, largest(grad_position));
  const int32_t* segments =
      segment_ids ? checked_ids(op, "segment_ids", *segment_ids, tokens, largest(grad_segment)) : nullptr;
  float* to_words = checked_gradient(op, "grad_word", grad_word, columns);
  float* to_places = checked_gradient(op, "grad_position", grad_position, columns);
  float* to_segments = checked_gradient(op, "grad_segment", grad_segment, columns);

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
