#pragma once

#include <ATen/ATen.h>

/// Matrix products of tokens, through libtorch's libraries. On the CPU those in bfloat16 are made with the spare rows
/// of kernels/tokens.h where the tensors have them.
namespace steadytune {

/// x [T, k] times w [k, n]: [T, n] in their dtype.
at::Tensor product(const at::Tensor& x, const at::Tensor& w);

/// bias [n] + x w.
at::Tensor product(const at::Tensor& bias, const at::Tensor& x, const at::Tensor& w);

/// sum [T, n] += x w.
void add_product_(at::Tensor& sum, const at::Tensor& x, const at::Tensor& w);

/// left^T right over all tokens: [m, n] from [T, m] and [T, n].
at::Tensor product_over_tokens(const at::Tensor& left, const at::Tensor& right);

/// The same, written into (or with `add` added to) a float32 `sum`.
void product_over_tokens_out(const at::Tensor& sum, const at::Tensor& left, const at::Tensor& right, bool add);

}  // namespace steadytune
