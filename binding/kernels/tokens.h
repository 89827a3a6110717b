#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/onednn.h"

/// Buffers of tokens that matrix products may take with a few spare rows of zeros behind the last token. On the CPU
/// bfloat16 products run by code that oneDNN compiles for every number of rows that it meets, at about a millisecond
/// each: as long as a product over 300 tokens takes. Hardly two batches have the same number of tokens, but rounded up
/// to sixteens, or to a thirty-second where that is more, they share a few dozen sizes. Nothing but matrix products
/// ever sees the spare rows.
namespace steadytune::kernels {

/// Rows that a product over `tokens` is made with.
inline int64_t product_rows(int64_t tokens, const at::TensorOptions& options) {
  const bool compiled = options.device().is_cpu() && options.dtype() == at::kBFloat16 && onednn_multiplies_bfloat16();
  if (!compiled) return tokens;
  constexpr int64_t smallest = 16;
  const int64_t step = std::max(smallest, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(tokens)) / 32));
  return (tokens + step - 1) / step * step;
}

/// [tokens, columns], uninitialized, with zeros in the spare rows.
inline at::Tensor empty_tokens(int64_t tokens, int64_t columns, const at::TensorOptions& options) {
  const int64_t rows = product_rows(tokens, options);
  at::Tensor buffer = at::empty({rows, columns}, options);
  if (rows == tokens) return buffer;
  const size_t row_bytes = columns * buffer.element_size();
  std::memset(static_cast<char*>(buffer.mutable_data_ptr()) + tokens * row_bytes, 0, (rows - tokens) * row_bytes);
  buffer.unsafeGetTensorImpl()->set_sizes_contiguous({tokens, columns});
  return buffer;
}

inline at::Tensor empty_tokens_like(const at::Tensor& tokens) {
  return empty_tokens(tokens.size(0), tokens.size(1), tokens.options());
}

}  // namespace steadytune::kernels
