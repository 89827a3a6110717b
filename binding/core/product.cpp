#include "core/product.h"

#include <cstdint>

#include "kernels/onednn.h"
#include "kernels/tokens.h"

namespace steadytune {
namespace {

bool has_spare_rows(const at::Tensor& x, int64_t rows) {
  const auto bytes = static_cast<size_t>(rows * x.size(1)) * x.element_size();
  return x.storage_offset() == 0 && x.is_contiguous() && x.storage().nbytes() >= bytes;
}

/// Rows that a product over these tokens is made with.
int64_t common_rows(std::initializer_list<at::Tensor> tensors) {
  const at::Tensor& first = *tensors.begin();
  const int64_t rows = kernels::product_rows(first.size(0), first.options());
  for (const at::Tensor& tensor : tensors) {
    if (!has_spare_rows(tensor, rows)) return first.size(0);
  }
  return rows;
}

at::Tensor with_rows(const at::Tensor& x, int64_t rows) {
  return rows == x.size(0) ? x : x.as_strided({rows, x.size(1)}, {x.size(1), 1});
}

/// target = left right + bias, or with `add` target += left right. The target is float32 or in the factors' dtype.
void multiply(const at::Tensor& target, const at::Tensor& left, const at::Tensor& right,
              const std::optional<at::Tensor>& bias, bool add) {
  if (!multiplied_as_they_are(left)) {
    // In float32, whose products of bfloat16 numbers are exact: the sums are those of oneDNN but for their order.
    const bool in_place = target.scalar_type() == at::kFloat;
    const at::Tensor sum =
        add || in_place ? target.to(at::kFloat) : at::empty(target.sizes(), target.options().dtype(at::kFloat));
    multiply(sum, left.to(at::kFloat), right.to(at::kFloat), bias ? std::optional(bias->to(at::kFloat)) : bias, add);
    if (!in_place) target.copy_(sum);
    return;
  }
  at::Tensor result = target;
  if (add || bias.has_value()) {
    at::addmm_out(result, add ? target : *bias, left, right);
  } else {
    at::mm_out(result, left, right);
  }
}

}  // namespace

bool multiplied_as_they_are(const at::Tensor& factor) {
  return factor.scalar_type() != at::kBFloat16 || factor.is_cuda() || kernels::onednn_multiplies_bfloat16();
}

at::Tensor product(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias) {
  const at::Tensor y = kernels::empty_tokens(x.size(0), w.size(1), x.options());
  const int64_t rows = common_rows({x, y});
  multiply(with_rows(y, rows), with_rows(x, rows), w, bias, false);
  return y;
}

void add_product_(const at::Tensor& sum, const at::Tensor& x, const at::Tensor& w) {
  const int64_t rows = common_rows({sum, x});
  multiply(with_rows(sum, rows), with_rows(x, rows), w, std::nullopt, true);
}

at::Tensor product_over_tokens(const at::Tensor& left, const at::Tensor& right) {
  const at::Tensor result = at::empty({left.size(1), right.size(1)}, left.options());
  product_over_tokens_out(result, left, right, false);
  return result;
}

void product_over_tokens_out(const at::Tensor& sum, const at::Tensor& left, const at::Tensor& right, bool add) {
  if (sum.scalar_type() == left.scalar_type() || !multiplied_as_they_are(left)) {
    const int64_t rows = common_rows({left, right});
    multiply(sum, with_rows(left, rows).t(), with_rows(right, rows), std::nullopt, add);
  } else if (sum.is_cuda() && !add) {
    // cuBLAS writes float32 from bfloat16 factors: nothing is rounded on the way, and there is no second pass.
    at::Tensor target = sum;
    at::mm_out(target, left.t(), right, at::kFloat);
  } else if (add) {
    sum.add_(product_over_tokens(left, right));
  } else {
    sum.copy_(product_over_tokens(left, right));
  }
}

}  // namespace steadytune
