#pragma once

#include <ATen/ATen.h>

#include <optional>

/// Matrix products of tokens, through libtorch's libraries. On the CPU those in bfloat16 are made with the spare rows
/// of kernels/tokens.h where the tensors have them, and in float32 where oneDNN leaves bfloat16 alone.
namespace steadytune {

/// Whether libtorch has a library that multiplies matrices of this dtype there. Where not, plain loops stand in.
bool multiplied_as_they_are(const at::Tensor& factor);

/// x [T, k] times w [k, n], plus bias [n]: [T, n] in their dtype.
at::Tensor product(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias = std::nullopt);

/// sum [T, n] += x w.
void add_product_(const at::Tensor& sum, const at::Tensor& x, const at::Tensor& w);

/// left^T right over all tokens: [m, n] from [T, m] and [T, n].
at::Tensor product_over_tokens(const at::Tensor& left, const at::Tensor& right);

/// The same, written into (or with `add` added to) `sum`, float32 or in the dtype of the tokens.
void product_over_tokens_out(const at::Tensor& sum, const at::Tensor& left, const at::Tensor& right, bool add);

}  // namespace steadytune
