#include "core/product.h"

#include "expect.h"
#include "kernels/onednn.h"
#include "kernels/tokens.h"
#include "reference.h"

using reference::relative_error;
using steadytune::kernels::empty_tokens;

namespace {

at::Tensor tokens_of(const at::Tensor& values) {
  return empty_tokens(values.size(0), values.size(1), values.options()).copy_(values);
}

}  // namespace

TEST("products with spare rows are those of the tokens alone, in both dtypes") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const int64_t tokens : {1, 15, 16, 17, 350, 1030}) {
      const at::Tensor x = tokens_of(reference::noise({tokens, 48}, 1).to(dtype));
      const at::Tensor g = tokens_of(reference::noise({tokens, 32}, 2).to(dtype));
      const at::Tensor w = reference::noise({48, 32}, 3).to(dtype);
      const at::Tensor bias = reference::noise({32}, 4).to(dtype);
      const auto exact = [](const at::Tensor& tensor) { return tensor.to(at::kDouble); };
      const double limit = dtype == at::kFloat ? 1e-6 : 4e-3;
      EXPECT_AT_MOST(relative_error(steadytune::product(x, w), at::mm(exact(x), exact(w))), limit);
      EXPECT_AT_MOST(relative_error(steadytune::product(x, w, bias), at::mm(exact(x), exact(w)) + exact(bias)), limit);
      at::Tensor sum = tokens_of(g);
      steadytune::add_product_(sum, x, w);
      EXPECT_AT_MOST(relative_error(sum, exact(g) + at::mm(exact(x), exact(w))), limit);
      const at::Tensor gradient = at::mm(exact(g).t(), exact(x));
      EXPECT_AT_MOST(relative_error(steadytune::product_over_tokens(g, x), gradient), limit);
      at::Tensor target = at::full({32, 48}, std::numeric_limits<float>::quiet_NaN());
      steadytune::product_over_tokens_out(target, g, x, false);
      EXPECT_AT_MOST(relative_error(target, gradient), limit);
      steadytune::product_over_tokens_out(target, g, x, true);
      EXPECT_AT_MOST(relative_error(target, 2 * gradient), limit);
    }
  }
}

TEST(
    "bfloat16 tokens have spare rows of zeros where oneDNN multiplies, so that hardly any two batches differ in size") {
  const auto options = at::TensorOptions(at::kBFloat16);
  if (!steadytune::kernels::onednn_multiplies_bfloat16()) {
    // Nothing is compiled for a number of rows.
    EXPECT_EQUAL(steadytune::kernels::product_rows(1025, options), 1025);
    EXPECT_EQUAL(empty_tokens(17, 3, options).storage().nbytes(), 17u * 3u * 2u);
    return;
  }
  std::vector<int64_t> sizes;
  for (int64_t tokens = 1024; tokens <= 2048; ++tokens) {
    const int64_t rows = steadytune::kernels::product_rows(tokens, options);
    EXPECT(rows >= tokens && rows <= tokens + tokens / 16);
    if (sizes.empty() || sizes.back() != rows) sizes.push_back(rows);
  }
  EXPECT(sizes.size() <= 34);
  const at::Tensor tokens = empty_tokens(17, 3, options);
  EXPECT(tokens.sizes() == at::IntArrayRef({17, 3}) && tokens.is_contiguous());
  const at::Tensor spare = tokens.as_strided({15, 3}, {3, 1}, 17 * 3);
  EXPECT(spare.abs().sum().item<float>() == 0.0f);
  EXPECT(steadytune::kernels::product_rows(17, at::TensorOptions(at::kFloat)) == 17);
}
