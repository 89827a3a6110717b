#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/dropout.h"
#include "kernels/mixout.h"

/// What every operator asks of its arguments, on every device. A failed check is a mistake of the caller inside this
/// project, so the sentences name the operator and the argument.
namespace steadytune::kernels {

inline void check_tensor(const char* op, const char* name, const at::Tensor& tensor, at::ScalarType dtype,
                         int64_t dimensions) {
  TORCH_CHECK(tensor.scalar_type() == dtype, "steadytune::", op, ": ", name, " must be ", dtype, ", not ",
              tensor.scalar_type(), ".");
  TORCH_CHECK(tensor.dim() == dimensions, "steadytune::", op, ": ", name, " must have ", dimensions,
              " dimensions, not ", tensor.dim(), ".");
  TORCH_CHECK(tensor.is_contiguous(), "steadytune::", op, ": ", name, " must be contiguous.");
}

inline void check_device(const char* op, const char* name, const at::Tensor& tensor, const at::Tensor& like) {
  TORCH_CHECK(tensor.device() == like.device(), "steadytune::", op, ": ", name, " lies on ", tensor.device(),
              ", the others on ", like.device(), ".");
}

inline void check_floating(const char* op, const char* name, const at::Tensor& tensor, int64_t dimensions) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16, "steadytune::", op, ": ",
              name, " must be float32 or bfloat16, not ", tensor.scalar_type(), ".");
  TORCH_CHECK(tensor.dim() == dimensions, "steadytune::", op, ": ", name, " must have ", dimensions,
              " dimensions, not ", tensor.dim(), ".");
}

inline uint32_t checked_word(const char* op, const char* name, int64_t value, int64_t largest) {
  TORCH_CHECK(value >= 0 && value <= largest, "steadytune::", op, ": ", name, " = ", value, " is outside 0 .. ",
              largest, ".");
  return static_cast<uint32_t>(value);
}

inline PhiloxKey checked_key(const char* op, int64_t seed, int64_t stream, int64_t layer, int64_t site) {
  return philox_key(checked_word(op, "seed", seed, UINT32_MAX), checked_word(op, "stream", stream, 255),
                    checked_word(op, "layer", layer, 65535), checked_word(op, "site", site, 255));
}

inline DropoutDraw checked_draw(const char* op, Stream stream, double p, int64_t seed, int64_t layer, int64_t site,
                                int64_t step) {
  TORCH_CHECK(p >= 0.0 && p < 1.0, "steadytune::", op, ": p = ", p, " is outside 0 <= p < 1.");
  const long threshold = std::lround(p * 65536.0);
  TORCH_CHECK(threshold < 65536, "steadytune::", op, ": p = ", p, " rounds to 1 in steps of 1/65536.");
  return {
      .key = checked_key(op, seed, static_cast<int64_t>(stream), layer, site),
      .step = checked_word(op, "step", step, UINT32_MAX),
      .threshold = static_cast<uint32_t>(threshold),
      .scale = static_cast<float>(65536.0 / (65536.0 - static_cast<double>(threshold))),
  };
}

/// Where an operator's counter lies, null without one; in the memory of the device.
inline const int64_t* check_counter(const char* op, const std::optional<at::Tensor>& counter, const at::Tensor& like) {
  if (!counter.has_value() || !counter->defined()) return nullptr;
  check_tensor(op, "counter", *counter, at::kLong, 1);
  check_device(op, "counter", *counter, like);
  TORCH_CHECK(counter->numel() == 3, "steadytune::", op, ": counter has ", counter->numel(), " numbers, not 3.");
  return counter->const_data_ptr<int64_t>();
}

/// What masks are drawn by on the CPU, where a counter can be read at once.
struct HostPlace {
  int64_t seed;
  int64_t step;
  int64_t micro_batch;
};

inline HostPlace host_place(const char* op, int64_t seed, int64_t step, int64_t micro_batch,
                            const std::optional<at::Tensor>& counter, const at::Tensor& like) {
  const int64_t* added = check_counter(op, counter, like);
  if (added == nullptr) return {seed, step, micro_batch};
  return {seed + added[2], step + added[0], micro_batch + added[1]};
}

/// A dropout mask on the CPU.
inline DropoutDraw host_draw(const char* op, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
                             const std::optional<at::Tensor>& counter, const at::Tensor& like) {
  const HostPlace place = host_place(op, seed, step, 0, counter, like);
  return checked_draw(op, Stream::dropout, p, place.seed, layer, site, place.step);
}

/// `name` is the tensor of tokens that they are the places of.
inline void check_places(const char* op, const char* name, const at::Tensor& tokens, const at::Tensor& rows,
                         const at::Tensor& positions) {
  check_tensor(op, "rows", rows, at::kInt, 1);
  check_tensor(op, "positions", positions, at::kInt, 1);
  check_device(op, "rows", rows, tokens);
  check_device(op, "positions", positions, tokens);
  TORCH_CHECK(rows.numel() == tokens.size(0) && positions.numel() == tokens.size(0), "steadytune::", op, ": ", name,
              " has ", tokens.size(0), " tokens, but there are ", rows.numel(), " rows and ", positions.numel(),
              " positions.");
}

inline void check_dropout(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& positions) {
  check_floating("dropout", "x", x, 2);
  check_places("dropout", "x", x, rows, positions);
}

inline PhiloxKey check_normal(const at::Tensor& x, double std, int64_t seed, int64_t stream, int64_t layer,
                              int64_t site) {
  check_tensor("normal_", "x", x, at::kFloat, x.dim());
  TORCH_CHECK(std >= 0.0 && std::isfinite(std), "steadytune::normal_: std = ", std,
              " must be finite and not negative.");
  return checked_key("normal_", seed, stream, layer, site);
}

/// What mixout takes beside the arguments of its mask.
inline void check_mixout_values(const at::Tensor& values, const at::Tensor& target, at::ScalarType dtype) {
  const char* op = "mixout";
  check_tensor(op, "values", values, at::kFloat, 2);
  check_tensor(op, "target", target, at::kFloat, 2);
  check_device(op, "target", target, values);
  TORCH_CHECK(target.sizes() == values.sizes(), "steadytune::mixout: target is ", target.sizes(), ", values are ",
              values.sizes(), ".");
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16,
              "steadytune::mixout: dtype must be float32 or bfloat16, not ", dtype, ".");
}

struct MixoutArguments {
  const std::optional<at::Tensor>& mask;
  c10::ArrayRef<double> p;
  bool column;
  int64_t seed;
  int64_t layer;
  int64_t site;
  int64_t step;
  int64_t micro_batch;
};

/// How each parameter that is stacked in `matrix` draws its mask. Without `scaled` the factors are 0 and 1.
inline std::vector<MixoutDraw> check_mixout(const char* op, const at::Tensor& matrix, const MixoutArguments& arguments,
                                            bool scaled) {
  const auto parts = static_cast<int64_t>(arguments.p.size());
  TORCH_CHECK(parts >= 1 && matrix.size(0) % parts == 0, "steadytune::", op, ": a matrix of ", matrix.size(0),
              " rows does not hold ", parts, " parameters of equal size.");
  // The block of eight elements has 32 bits in the counter of its mask.
  TORCH_CHECK(matrix.numel() / parts <= (int64_t{1} << 32) * mixout_block_elements, "steadytune::", op,
              ": a parameter has ", matrix.numel() / parts, " elements, more than its mask can count.");
  if (arguments.mask.has_value() && arguments.mask->defined()) {
    const at::Tensor& mask = *arguments.mask;
    TORCH_CHECK(mask.scalar_type() == at::kBool || mask.scalar_type() == at::kFloat, "steadytune::", op,
                ": mask must be bool or float32, not ", mask.scalar_type(), ".");
    TORCH_CHECK(parts == 1 && mask.dim() == 2 && mask.size(0) == (arguments.column ? 1 : matrix.size(0)) &&
                    mask.size(1) == matrix.size(1),
                "steadytune::", op, ": a mask of ", mask.sizes(), " for ", parts, " parameters does not fit ",
                matrix.sizes(), ".");
    check_device(op, "mask", mask, matrix);
  }
  std::vector<MixoutDraw> draws;
  for (int64_t part = 0; part < parts; ++part) {
    DropoutDraw mask = checked_draw(op, Stream::mixout, arguments.p[part], arguments.seed, arguments.layer,
                                    arguments.site + part, arguments.step);
    if (!scaled) mask.scale = 1.0f;
    draws.push_back({mask, checked_word(op, "micro_batch", arguments.micro_batch, UINT32_MAX)});
  }
  return draws;
}

/// Rows that lie back to back, by the offsets of their first tokens.
inline void check_rows(const char* op, const at::Tensor& row_offsets, const at::Tensor& row_numbers,
                       const at::Tensor& tokens) {
  check_tensor(op, "row_offsets", row_offsets, at::kInt, 1);
  check_tensor(op, "row_numbers", row_numbers, at::kInt, 1);
  check_device(op, "row_offsets", row_offsets, tokens);
  check_device(op, "row_numbers", row_numbers, tokens);
  TORCH_CHECK(row_offsets.numel() == row_numbers.numel() + 1, "steadytune::", op, ": ", row_numbers.numel(),
              " rows need ", row_numbers.numel() + 1, " offsets, not ", row_offsets.numel(), ".");
}

/// The offsets themselves, where they lie on the CPU: from 0 to the number of tokens.
inline void check_offsets(const char* op, const at::Tensor& row_offsets, int64_t tokens) {
  const int32_t* offsets = row_offsets.const_data_ptr<int32_t>();
  const int64_t rows = row_offsets.numel() - 1;
  TORCH_CHECK(offsets[0] == 0 && offsets[rows] == tokens, "steadytune::", op, ": row_offsets run from ", offsets[0],
              " to ", offsets[rows], ", not from 0 to the ", tokens, " tokens.");
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = int64_t{offsets[row + 1]} - offsets[row];
    // A query's position has 16 bits in the counter of its mask.
    TORCH_CHECK(length >= 0 && length <= 65536, "steadytune::", op, ": row ", row, " has length ", length,
                ", which is outside 0 .. 65536.");
  }
}

/// `parts` things side by side, `what` by name, each of so many heads.
inline void check_heads(const char* op, const char* name, const at::Tensor& tokens, const char* what, int64_t parts,
                        int64_t heads) {
  check_floating(op, name, tokens, 2);
  TORCH_CHECK(heads >= 1 && heads <= 65535, "steadytune::", op, ": heads = ", heads, " is outside 1 .. 65535.");
  TORCH_CHECK(tokens.size(1) > 0 && tokens.size(1) % (parts * heads) == 0, "steadytune::", op, ": ", name, " has ",
              tokens.size(1), " columns, which are not ", what, " of ", heads, " heads.");
}

/// Returns hidden = heads * head size.
inline int64_t check_attention(const char* op, const at::Tensor& qkv, const at::Tensor& row_offsets,
                               const at::Tensor& row_numbers, int64_t heads) {
  check_heads(op, "qkv", qkv, "query, key and value", 3, heads);
  check_rows(op, row_offsets, row_numbers, qkv);
  return qkv.size(1) / 3;
}

/// What the backward gets beside the arguments of the forward.
inline void check_attention_grads(const char* op, const at::Tensor& grad_output, const at::Tensor& qkv,
                                  const at::Tensor& output, const at::Tensor& logsumexp, int64_t heads) {
  const int64_t tokens = qkv.size(0);
  const int64_t hidden = qkv.size(1) / 3;
  check_device(op, "grad_output", grad_output, qkv);
  TORCH_CHECK(grad_output.scalar_type() == qkv.scalar_type() && grad_output.sizes() == output.sizes() &&
                  output.dim() == 2 && output.size(0) == tokens && output.size(1) == hidden,
              "steadytune::", op, ": grad_output and output must be [", tokens, ", ", hidden, "] in the dtype of qkv.");
  check_tensor(op, "logsumexp", logsumexp, at::kFloat, 2);
  check_device(op, "logsumexp", logsumexp, qkv);
  TORCH_CHECK(logsumexp.size(0) == heads && logsumexp.size(1) == tokens, "steadytune::", op, ": logsumexp must be [",
              heads, ", ", tokens, "].");
}

/// Queries of some tokens, and the keys and values of others side by side.
inline void check_queries(const char* op, const at::Tensor& query, const at::Tensor& key_value,
                          const at::Tensor& row_offsets, const at::Tensor& row_numbers, int64_t heads) {
  check_heads(op, "query", query, "queries", 1, heads);
  check_tensor(op, "key_value", key_value, query.scalar_type(), 2);
  check_device(op, "key_value", key_value, query);
  TORCH_CHECK(query.is_contiguous(), "steadytune::", op, ": query must be contiguous.");
  TORCH_CHECK(key_value.size(1) == 2 * query.size(1), "steadytune::", op, ": key_value has ", key_value.size(1),
              " columns, not ", 2 * query.size(1), ".");
  check_rows(op, row_offsets, row_numbers, key_value);
}

inline void check_cross_attention(const char* op, const at::Tensor& query, const at::Tensor& key_value,
                                  const at::Tensor& row_offsets, const at::Tensor& row_numbers, int64_t heads) {
  check_queries(op, query, key_value, row_offsets, row_numbers, heads);
  TORCH_CHECK(key_value.size(0) == query.size(0), "steadytune::", op, ": ", query.size(0), " queries meet ",
              key_value.size(0), " keys, not as many.");
}

inline void check_summary_attention(const char* op, const at::Tensor& query, const at::Tensor& key_value,
                                    const at::Tensor& row_offsets, const at::Tensor& row_numbers,
                                    const at::Tensor& positions, int64_t heads) {
  check_queries(op, query, key_value, row_offsets, row_numbers, heads);
  check_places(op, "query", query, row_numbers, positions);
}

/// What their backward gets beside the arguments of the forward.
inline void check_query_grads(const char* op, const at::Tensor& grad_output, const at::Tensor& query,
                              const at::Tensor& logsumexp, int64_t heads) {
  check_tensor(op, "grad_output", grad_output, query.scalar_type(), 2);
  check_device(op, "grad_output", grad_output, query);
  TORCH_CHECK(grad_output.sizes() == query.sizes(), "steadytune::", op, ": grad_output is ", grad_output.sizes(),
              ", not ", query.sizes(), ".");
  check_tensor(op, "logsumexp", logsumexp, at::kFloat, 2);
  check_device(op, "logsumexp", logsumexp, query);
  TORCH_CHECK(logsumexp.size(0) == heads && logsumexp.size(1) == query.size(0), "steadytune::", op,
              ": logsumexp must be [", heads, ", ", query.size(0), "].");
}

struct RelativeTensors {
  const at::Tensor& query;
  const at::Tensor& key;
  const at::Tensor& value;
  const at::Tensor& relative;
  const at::Tensor& vectors;
  const at::Tensor& segment_ids;
  const at::Tensor& query_offsets;
  const at::Tensor& query_positions;
  const at::Tensor& row_offsets;
  const at::Tensor& row_numbers;
};

inline void check_relative_attention(const char* op, const RelativeTensors& in, int64_t heads) {
  const at::Tensor& query = in.query;
  check_heads(op, "query", query, "queries", 1, heads);
  const int64_t hidden = query.size(1);
  TORCH_CHECK(query.is_contiguous(), "steadytune::", op, ": query must be contiguous.");
  const auto check_lines = [&](const char* name, const at::Tensor& tensor, at::ScalarType dtype, int64_t lines) {
    check_tensor(op, name, tensor, dtype, 2);
    check_device(op, name, tensor, query);
    TORCH_CHECK(tensor.size(0) == lines && tensor.size(1) == hidden, "steadytune::", op, ": ", name, " is ",
                tensor.sizes(), ", not [", lines, ", ", hidden, "].");
  };
  const int64_t tokens = in.key.size(0);
  check_lines("key", in.key, query.scalar_type(), tokens);
  check_lines("value", in.value, query.scalar_type(), tokens);
  check_lines("relative", in.relative, query.scalar_type(), tokens + query.size(0));
  check_lines("vectors", in.vectors, at::kFloat, 5);
  check_rows(op, in.row_offsets, in.row_numbers, in.key);
  check_rows(op, in.query_offsets, in.row_numbers, query);
  const auto check_numbers = [&](const char* name, const at::Tensor& numbers, int64_t count) {
    check_tensor(op, name, numbers, at::kInt, 1);
    check_device(op, name, numbers, query);
    TORCH_CHECK(numbers.numel() == count, "steadytune::", op, ": ", name, " has ", numbers.numel(), " elements, not ",
                count, ".");
  };
  check_numbers("segment_ids", in.segment_ids, tokens);
  check_numbers("query_positions", in.query_positions, in.row_numbers.numel());
}

/// Tokens [T, columns], contiguous, with at least one column.
inline void check_tokens(const char* op, const char* name, const at::Tensor& tokens) {
  check_floating(op, name, tokens, 2);
  TORCH_CHECK(tokens.size(1) > 0, "steadytune::", op, ": ", name, " has no columns.");
  TORCH_CHECK(tokens.is_contiguous(), "steadytune::", op, ": ", name, " must be contiguous.");
}

/// A second tensor of the same tokens.
inline void check_tokens_like(const char* op, const char* name, const at::Tensor& tokens, const at::Tensor& like) {
  check_tensor(op, name, tokens, like.scalar_type(), 2);
  check_device(op, name, tokens, like);
  TORCH_CHECK(tokens.sizes() == like.sizes(), "steadytune::", op, ": ", name, " is ", tokens.sizes(), ", not ",
              like.sizes(), ".");
}

/// One float32 value for each column, or for each token.
inline void check_values(const char* op, const char* name, const at::Tensor& values, int64_t count,
                         const at::Tensor& tokens) {
  check_tensor(op, name, values, at::kFloat, 1);
  check_device(op, name, values, tokens);
  TORCH_CHECK(values.numel() == count, "steadytune::", op, ": ", name, " has ", values.numel(), " elements, not ",
              count, ".");
}

/// int32, one for each of the tokens, which lie along the first axis.
inline void check_ids(const char* op, const char* name, const at::Tensor& ids, const at::Tensor& tokens) {
  check_tensor(op, name, ids, at::kInt, 1);
  check_device(op, name, ids, tokens);
  TORCH_CHECK(ids.numel() == tokens.size(0), "steadytune::", op, ": ", name, " has ", ids.numel(), " elements, not ",
              tokens.size(0), ".");
}

inline void check_table(const char* op, const char* name, const at::Tensor& table, int64_t columns,
                        const at::Tensor& like) {
  check_tensor(op, name, table, at::kFloat, 2);
  check_device(op, name, table, like);
  TORCH_CHECK(table.size(1) == columns, "steadytune::", op, ": ", name, " has ", table.size(1), " columns, not ",
              columns, ".");
}

struct EmbeddingTensors {
  const at::Tensor& word;
  const at::Tensor& position;
  const std::optional<at::Tensor>& segment;
  const at::Tensor& word_ids;
  const at::Tensor& position_ids;
  const std::optional<at::Tensor>& segment_ids;
};

/// All but the ids themselves.
inline void check_embed(const char* op, const EmbeddingTensors& in, const at::Tensor& weight,
                        const at::Tensor& norm_bias, double eps, at::ScalarType dtype, const at::Tensor& rows,
                        const at::Tensor& positions) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "steadytune::", op,
              ": dtype must be float32 or bfloat16, not ", dtype, ".");
  TORCH_CHECK(in.word.dim() == 2 && in.word.size(1) > 0, "steadytune::", op, ": word is ", in.word.sizes(), ".");
  TORCH_CHECK(in.segment.has_value() == in.segment_ids.has_value(), "steadytune::", op,
              ": a table of segments and segment_ids go together.");
  const int64_t columns = in.word.size(1);
  check_table(op, "word", in.word, columns, in.word);
  check_table(op, "position", in.position, columns, in.word);
  check_tensor(op, "word_ids", in.word_ids, at::kInt, 1);
  check_device(op, "word_ids", in.word_ids, in.word);
  check_ids(op, "position_ids", in.position_ids, in.word_ids);
  if (in.segment) {
    check_table(op, "segment", *in.segment, columns, in.word);
    check_ids(op, "segment_ids", *in.segment_ids, in.word_ids);
  }
  check_values(op, "weight", weight, columns, in.word);
  check_values(op, "norm_bias", norm_bias, columns, in.word);
  check_places(op, "y", in.word_ids, rows, positions);
  TORCH_CHECK(eps >= 0.0 && std::isfinite(eps), "steadytune::", op, ": eps = ", eps,
              " must be finite and not negative.");
}

struct EmbeddingGradients {
  const std::optional<at::Tensor>& word;
  const std::optional<at::Tensor>& position;
  const std::optional<at::Tensor>& segment;
};

inline void check_embed_backward(const char* op, const at::Tensor& grad_y, const at::Tensor& normalized,
                                 const at::Tensor& rstd, const at::Tensor& weight, const EmbeddingGradients& gradients,
                                 const std::optional<at::Tensor>& segment_ids, const at::Tensor& rows,
                                 const at::Tensor& positions) {
  check_tokens(op, "grad_y", grad_y);
  const int64_t columns = grad_y.size(1);
  check_tensor(op, "normalized", normalized, at::kFloat, 2);
  check_device(op, "normalized", normalized, grad_y);
  TORCH_CHECK(normalized.sizes() == grad_y.sizes(), "steadytune::", op, ": normalized is ", normalized.sizes(),
              ", not ", grad_y.sizes(), ".");
  check_values(op, "rstd", rstd, grad_y.size(0), grad_y);
  check_values(op, "weight", weight, columns, grad_y);
  check_places(op, "grad_y", grad_y, rows, positions);
  TORCH_CHECK(!gradients.segment || segment_ids, "steadytune::", op, ": grad_segment needs segment_ids.");
  if (gradients.word) check_table(op, "grad_word", *gradients.word, columns, grad_y);
  if (gradients.position) check_table(op, "grad_position", *gradients.position, columns, grad_y);
  if (gradients.segment) check_table(op, "grad_segment", *gradients.segment, columns, grad_y);
}

inline Activation checked_activation(const char* op, int64_t activation) {
  constexpr auto last = static_cast<int64_t>(Activation::tanh);
  TORCH_CHECK(activation >= 0 && activation <= last, "steadytune::", op, ": activation = ", activation,
              " is outside 0 .. ", last, ".");
  return static_cast<Activation>(activation);
}

/// The summary tokens and matrices of a head; bias_activation asks after the rest.
inline void check_head(const char* op, const at::Tensor& x, const at::Tensor& dense, const at::Tensor& output,
                       const at::Tensor& output_bias) {
  check_tensor(op, "x", x, at::kFloat, 2);
  check_table(op, "dense", dense, x.size(1), x);
  check_table(op, "output", output, dense.size(0), x);
  TORCH_CHECK(output.size(0) > 0, "steadytune::", op, ": output has no rows.");
  check_values(op, "output_bias", output_bias, output.size(0), x);
}

/// Classes, or scores for the only output. The classes themselves, where they lie on the CPU.
inline void check_labels(const char* op, const at::Tensor& labels, const at::Tensor& output, const at::Tensor& x) {
  const bool classes = labels.scalar_type() == at::kLong;
  check_tensor(op, "labels", labels, classes ? at::kLong : at::kFloat, 1);
  check_device(op, "labels", labels, x);
  TORCH_CHECK(labels.numel() == x.size(0), "steadytune::", op, ": ", x.size(0), " rows have ", labels.numel(),
              " labels.");
  TORCH_CHECK(classes || output.size(0) == 1, "steadytune::", op, ": scores are for one output, not for ",
              output.size(0), ".");
  if (!classes || !labels.device().is_cpu()) return;
  const int64_t* label = labels.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < labels.numel(); ++row) {
    TORCH_CHECK(label[row] >= 0 && label[row] < output.size(0), "steadytune::", op, ": labels holds ", label[row],
                ", outside 0 .. ", output.size(0) - 1, ".");
  }
}

inline void check_head_backward(const char* op, const at::Tensor& grad_loss, const at::Tensor& grad_logits,
                                const at::Tensor& widened, const at::Tensor& output) {
  check_tensor(op, "widened", widened, at::kFloat, 2);
  check_table(op, "output", output, widened.size(1), widened);
  check_tensor(op, "grad_loss", grad_loss, at::kFloat, 0);
  check_device(op, "grad_loss", grad_loss, widened);
  check_table(op, "grad_logits", grad_logits, output.size(0), widened);
  TORCH_CHECK(grad_logits.size(0) == widened.size(0), "steadytune::", op, ": grad_logits has ", grad_logits.size(0),
              " rows, not ", widened.size(0), ".");
}

/// Bounds are [segments, 2] on the device of `buffer`: begin and end of each segment in elements.
inline void check_bounds(const char* op, const at::Tensor& bounds, const at::Tensor& buffer) {
  check_tensor(op, "bounds", bounds, at::kLong, 2);
  check_device(op, "bounds", bounds, buffer);
  const int64_t elements = buffer.numel();
  TORCH_CHECK(bounds.size(1) == 2, "steadytune::", op, ": bounds must be [segments, 2].");
  if (!bounds.device().is_cpu()) {
    return;
  }
  const int64_t* data = bounds.const_data_ptr<int64_t>();
  for (int64_t segment = 0; segment < bounds.size(0); ++segment) {
    const int64_t begin = data[2 * segment];
    const int64_t end = data[2 * segment + 1];
    TORCH_CHECK(0 <= begin && begin <= end && end <= elements, "steadytune::", op, ": segment ", segment, " is ", begin,
                " .. ", end, ", outside the buffer of ", elements, " elements.");
  }
}

inline void check_buffer(const char* op, const char* name, const at::Tensor& buffer, const at::Tensor& values,
                         at::ScalarType dtype = at::kFloat) {
  check_tensor(op, name, buffer, dtype, 1);
  check_device(op, name, buffer, values);
  TORCH_CHECK(buffer.numel() == values.numel(), "steadytune::", op, ": ", name, " has ", buffer.numel(),
              " elements, the others ", values.numel(), ".");
}

inline void check_flags(const char* op, const at::Tensor& flags, const at::Tensor& bounds) {
  check_tensor(op, "flags", flags, at::kInt, 1);
  check_device(op, "flags", flags, bounds);
  TORCH_CHECK(flags.numel() == bounds.size(0), "steadytune::", op, ": ", bounds.size(0), " segments have ",
              flags.numel(), " flags.");
}

/// What both forms of AdamW work on.
struct AdamwTensors {
  const at::Tensor& values;
  const at::Tensor& gradients;
  const at::Tensor& moment1;
  const at::Tensor& moment2;
  const std::optional<at::Tensor>& start;
  const at::Tensor& bounds;
  const at::Tensor& settings;
  const at::Tensor& flags;
  const at::Tensor& squared_norm;
  const std::optional<at::Tensor>& compute;
};

struct AdamwNumbers {
  double beta1;
  double beta2;
  double eps;
  double max_grad_norm;
};

inline void check_adamw(const char* op, const AdamwTensors& tensors, const AdamwNumbers& numbers) {
  const at::Tensor& values = tensors.values;
  check_buffer(op, "values", values, values);
  check_buffer(op, "gradients", tensors.gradients, values);
  check_buffer(op, "moment1", tensors.moment1, values);
  check_buffer(op, "moment2", tensors.moment2, values);
  if (tensors.start.has_value() && tensors.start->defined()) {
    check_buffer(op, "start", *tensors.start, values);
  }
  if (tensors.compute.has_value() && tensors.compute->defined()) {
    check_buffer(op, "compute", *tensors.compute, values, at::kBFloat16);
  }
  check_bounds(op, tensors.bounds, values);
  check_flags(op, tensors.flags, tensors.bounds);
  check_tensor(op, "settings", tensors.settings, at::kFloat, 2);
  check_device(op, "settings", tensors.settings, values);
  const int64_t segments = tensors.bounds.size(0);
  TORCH_CHECK(tensors.settings.size(0) == segments && tensors.settings.size(1) == 2, "steadytune::", op,
              ": settings must be [", segments, ", 2].");
  check_tensor(op, "squared_norm", tensors.squared_norm, at::kDouble, 0);
  check_device(op, "squared_norm", tensors.squared_norm, values);
  TORCH_CHECK(numbers.beta1 >= 0.0 && numbers.beta1 < 1.0 && numbers.beta2 >= 0.0 && numbers.beta2 < 1.0,
              "steadytune::", op, ": betas ", numbers.beta1, ", ", numbers.beta2, " are outside 0 <= beta < 1.");
  TORCH_CHECK(numbers.eps >= 0.0 && numbers.max_grad_norm >= 0.0, "steadytune::", op, ": eps = ", numbers.eps,
              " and max_grad_norm = ", numbers.max_grad_norm, " must not be negative.");
}

/// What adamw_scheduled_ reads from the device.
inline void check_schedule(const char* op, const at::Tensor& values, const at::Tensor& loss, const at::Tensor& lr,
                           const std::optional<at::Tensor>& counter, const at::Tensor& diverged_at) {
  check_tensor(op, "loss", loss, loss.scalar_type() == at::kFloat ? at::kFloat : at::kDouble, 0);
  check_device(op, "loss", loss, values);
  check_tensor(op, "lr", lr, at::kDouble, 0);
  check_device(op, "lr", lr, values);
  TORCH_CHECK(check_counter(op, counter, values) != nullptr, "steadytune::", op, ": a counter is needed.");
  check_tensor(op, "diverged_at", diverged_at, at::kLong, 0);
  check_device(op, "diverged_at", diverged_at, values);
}

}  // namespace steadytune::kernels
