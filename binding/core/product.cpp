#include "core/product.h"

#include <cstdint>

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

}  // namespace

at::Tensor product(const at::Tensor& x, const at::Tensor& w) {
  const at::Tensor y = kernels::empty_tokens(x.size(0), w.size(1), x.options());
  const int64_t rows = common_rows({x, y});
  at::Tensor all = with_rows(y, rows);
  at::mm_out(all, with_rows(x, rows), w);
  return y;
}

at::Tensor product(const at::Tensor& bias, const at::Tensor& x, const at::Tensor& w) {
  const at::Tensor y = kernels::empty_tokens(x.size(0), w.size(1), x.options());
  const int64_t rows = common_rows({x, y});
  at::Tensor all = with_rows(y, rows);
  at::addmm_out(all, bias, with_rows(x, rows), w);
  return y;
}

void add_product_(at::Tensor& sum, const at::Tensor& x, const at::Tensor& w) {
  const int64_t rows = common_rows({sum, x});
  with_rows(sum, rows).addmm_(with_rows(x, rows), w);
}

at::Tensor product_over_tokens(const at::Tensor& left, const at::Tensor& right) {
  const int64_t rows = common_rows({left, right});
  return at::mm(with_rows(left, rows).t(), with_rows(right, rows));
}

void product_over_tokens_out(const at::Tensor& sum, const at::Tensor& left, const at::Tensor& right, bool add) {
  at::Tensor target = sum;
  if (sum.scalar_type() == left.scalar_type()) {
    const int64_t rows = common_rows({left, right});
    at::addmm_out(target, target, with_rows(left, rows).t(), with_rows(right, rows), add ? 1 : 0);
  } else if (sum.is_cuda() && !add) {
    // cuBLAS writes float32 from bfloat16 factors: nothing is rounded on the way, and there is no second pass.
    at::mm_out(target, left.t(), right, at::kFloat);
  } else if (add) {
    target.add_(product_over_tokens(left, right));
  } else {
    target.copy_(product_over_tokens(left, right));
  }
}

}  // namespace steadytune
