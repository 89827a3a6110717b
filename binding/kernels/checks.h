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

/// Rows that lie back to back, `tokens` in all. `row_offsets` is on the CPU on every device.
inline void check_rows(const char* op, const at::Tensor& row_offsets, const at::Tensor& row_numbers, int64_t tokens) {
  check_tensor(op, "row_offsets", row_offsets, at::kInt, 1);
  check_tensor(op, "row_numbers", row_numbers, at::kInt, 1);
  TORCH_CHECK(row_offsets.device().is_cpu(), "steadytune::", op, ": row_offsets must be on the CPU.");
  TORCH_CHECK(row_offsets.numel() == row_numbers.numel() + 1, "steadytune::", op, ": ", row_numbers.numel(),
              " rows need ", row_numbers.numel() + 1, " offsets, not ", row_offsets.numel(), ".");
  const int32_t* offsets = row_offsets.const_data_ptr<int32_t>();
  const int64_t rows = row_numbers.numel();
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
  check_rows(op, row_offsets, row_numbers, qkv.size(0));
  return qkv.size(1) / 3;
}

inline void check_summary_attention(const char* op, const at::Tensor& query, const at::Tensor& key_value,
                                    const at::Tensor& row_offsets, const at::Tensor& row_numbers,
                                    const at::Tensor& positions, int64_t heads) {
  check_heads(op, "query", query, "queries", 1, heads);
  check_tensor(op, "key_value", key_value, query.scalar_type(), 2);
  check_device(op, "key_value", key_value, query);
  TORCH_CHECK(query.is_contiguous(), "steadytune::", op, ": query must be contiguous.");
  TORCH_CHECK(key_value.size(1) == 2 * query.size(1), "steadytune::", op, ": key_value has ", key_value.size(1),
              " columns, not ", 2 * query.size(1), ".");
  check_rows(op, row_offsets, row_numbers, key_value.size(0));
  check_places(op, "query", query, row_numbers, positions);
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

inline Activation checked_activation(const char* op, int64_t activation) {
  TORCH_CHECK(activation >= 0 && activation <= static_cast<int64_t>(Activation::relu), "steadytune::", op,
              ": activation = ", activation, " is outside 0 .. ", static_cast<int64_t>(Activation::relu), ".");
  return static_cast<Activation>(activation);
}

/// Bounds are [segments, 2] on the CPU or on the device of `values`: begin and end of each segment in elements.
inline void check_bounds(const char* op, const at::Tensor& bounds, int64_t elements) {
  check_tensor(op, "bounds", bounds, at::kLong, 2);
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

}  // namespace steadytune::kernels
