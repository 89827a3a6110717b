#include "core/operators.h"
#include "expect.h"
#include "reference.h"

using reference::Dropout;
using reference::ints;
using steadytune::Site;
namespace operators = steadytune::operators;

namespace {

at::Tensor apply(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& positions, const Dropout& dropout,
                 Site site = Site::ffn_output) {
  return operators::dropout(x, rows, positions, dropout.p, dropout.seed, dropout.layer, static_cast<int64_t>(site),
                            dropout.step);
}

/// Three rows of 3, 1 and 5 tokens of the data set, back to back.
const std::vector<int32_t> token_rows{70000,      70000,      70000,      2,         2000000000,
                                      2000000000, 2000000000, 2000000000, 2000000000};
const std::vector<int32_t> token_positions{0, 1, 2, 0, 0, 1, 2, 3, 4};

}  // namespace

TEST("the mask equals a scalar reference for every number of columns, in both dtypes") {
  const at::Tensor rows = ints(token_rows);
  const at::Tensor positions = ints(token_positions);
  for (const int64_t columns : {1, 2, 7, 8, 9, 31, 64, 100, 384, 511, 512, 513, 1024, 1031}) {
    for (const double p : {0.1, 0.5, 0.9}) {
      const Dropout dropout{.p = p, .seed = 4000000000, .layer = 23, .step = 804};
      const at::Tensor mask = reference::token_mask(dropout, Site::ffn_output, rows, positions, columns);
      const at::Tensor x = reference::noise({9, columns}, columns);
      EXPECT(at::equal(apply(x, rows, positions, dropout), x * mask.to(at::kFloat)), "columns ", columns, " p ", p);
      const at::Tensor half = x.to(at::kBFloat16);
      const at::Tensor expected = (half.to(at::kFloat) * mask.to(at::kFloat)).to(at::kBFloat16);
      EXPECT(at::equal(apply(half, rows, positions, dropout), expected), "bfloat16 columns ", columns, " p ", p);
    }
  }
}

TEST("every part of the key and the counter changes the mask") {
  const at::Tensor rows = ints({5});
  const at::Tensor positions = ints({6});
  const at::Tensor x = at::ones({1, 512});
  const Dropout dropout{.p = 0.5, .seed = 1, .layer = 2, .step = 3};
  const at::Tensor base = apply(x, rows, positions, dropout);
  const std::vector<at::Tensor> others{
      apply(x, ints({4}), positions, dropout),
      apply(x, rows, ints({5}), dropout),
      apply(x, rows, positions, {.p = 0.5, .seed = 2, .layer = 2, .step = 3}),
      apply(x, rows, positions, {.p = 0.5, .seed = 1, .layer = 1, .step = 3}),
      apply(x, rows, positions, {.p = 0.5, .seed = 1, .layer = 2, .step = 4}),
      apply(x, rows, positions, dropout, Site::classifier),
  };
  for (const at::Tensor& other : others) {
    const int64_t differing = other.ne(base).sum().item<int64_t>();
    EXPECT(differing > 180 && differing < 330, differing, " of 512 differ");
  }
}

TEST("masks do not depend on the number of threads") {
  const at::Tensor rows = at::arange(600, at::kInt);
  const at::Tensor positions = at::arange(600, at::kInt).flip(0).contiguous();
  const at::Tensor x = reference::noise({600, 384}, 1);
  const Dropout dropout{.p = 0.1, .seed = 7, .layer = 0, .step = 1};
  const reference::Threads one(1);
  const at::Tensor expected = apply(x, rows, positions, dropout);
  for (const int threads : {2, 3, 7}) {
    const reference::Threads many(threads);
    EXPECT(reference::same_bits(apply(x, rows, positions, dropout), expected), threads, " threads");
  }
}

TEST("masks follow the row, not its place in the batch or the part of an accumulated step") {
  const at::Tensor rows = ints(token_rows);
  const at::Tensor positions = ints(token_positions);
  const at::Tensor x = reference::noise({9, 100}, 2);
  const Dropout dropout{.p = 0.3, .seed = 7, .layer = 4, .step = 9};
  const at::Tensor whole = apply(x, rows, positions, dropout);
  const at::Tensor order = at::tensor({4, 5, 6, 7, 8, 3, 0, 1, 2}, at::kLong);
  EXPECT(
      at::equal(apply(x.index({order}), rows.index({order}), positions.index({order}), dropout), whole.index({order})));
  const at::Tensor first = apply(x.slice(0, 0, 3), rows.slice(0, 0, 3), positions.slice(0, 0, 3), dropout);
  const at::Tensor second = apply(x.slice(0, 3, 9), rows.slice(0, 3, 9), positions.slice(0, 3, 9), dropout);
  EXPECT(at::equal(at::cat({first, second}), whole));
}

TEST("the share of kept elements is 1 - p and the expectation is kept") {
  const at::Tensor rows = at::arange(1000, at::kInt);
  const at::Tensor positions = at::zeros({1000}, at::kInt);
  for (const double p : {0.1, 0.5, 0.9}) {
    const at::Tensor y = apply(at::ones({1000, 1000}), rows, positions, {.p = p, .seed = 1, .layer = 0, .step = 1});
    const double kept = y.ne(0).sum().item<int64_t>() / 1e6;
    // Four standard deviations of a million draws.
    EXPECT_AT_MOST(std::abs(kept - (1.0 - p)), 4 * std::sqrt(p * (1.0 - p) / 1e6) + 1e-5);
    EXPECT_AT_MOST(std::abs(y.max().item<double>() - 1.0 / (1.0 - p)), 1e-4 / (1.0 - p));
  }
}

TEST("the gradient passes through the same mask") {
  const at::Tensor rows = ints(token_rows);
  const at::Tensor positions = ints(token_positions);
  const Dropout dropout{.p = 0.4, .seed = 3, .layer = 1, .step = 5};
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    at::Tensor x = reference::noise({9, 77}, 3).to(dtype).requires_grad_(true);
    const at::Tensor grad = reference::noise({9, 77}, 4).to(dtype);
    apply(x, rows, positions, dropout).backward(grad);
    EXPECT(at::equal(x.grad(), apply(grad, rows, positions, dropout)));
    EXPECT(x.grad().scalar_type() == dtype);
  }
}

TEST("p = 0 returns x itself, with its gradient") {
  at::Tensor x = reference::noise({1, 8}, 5).requires_grad_(true);
  const at::Tensor y = apply(x, ints({0}), ints({0}), {.p = 0.0, .seed = 0, .layer = 0, .step = 0});
  EXPECT(y.is_same(x));
}

TEST("no tokens give no tokens, and a transposed input is taken") {
  const Dropout dropout{.p = 0.5, .seed = 0, .layer = 0, .step = 0};
  const at::Tensor none = at::empty({0}, at::kInt);
  EXPECT_EQUAL(apply(at::empty({0, 16}), none, none, dropout).size(0), 0);
  const at::Tensor x = reference::noise({16, 2}, 6).t();
  const at::Tensor rows = ints({1, 2});
  EXPECT(at::equal(apply(x, rows, rows, dropout), apply(x.contiguous(), rows, rows, dropout)));
}

TEST("bad arguments of dropout are refused by name") {
  const at::Tensor x = at::ones({2, 8});
  const at::Tensor rows = ints({0, 1});
  const Dropout dropout{.p = 0.5, .seed = 0, .layer = 0, .step = 0};
  EXPECT_THROWS(apply(x.to(at::kDouble), rows, rows, dropout), "x must be float32 or bfloat16");
  EXPECT_THROWS(apply(x.view({16}), rows, rows, dropout), "x must have 2 dimensions");
  EXPECT_THROWS(apply(x, rows.to(at::kLong), rows, dropout), "rows must be Int");
  EXPECT_THROWS(apply(x, rows, ints({0}), dropout), "2 tokens, but there are 2 rows and 1 positions");
  EXPECT_THROWS(apply(x, rows, rows, {.p = 1.0, .seed = 0, .layer = 0, .step = 0}), "p = 1");
  EXPECT_THROWS(apply(x, rows, rows, {.p = -0.1, .seed = 0, .layer = 0, .step = 0}), "p = -0.1");
  EXPECT_THROWS(apply(x, rows, rows, {.p = std::nan(""), .seed = 0, .layer = 0, .step = 0}), "p = nan");
  EXPECT_THROWS(apply(x, rows, rows, {.p = 0.9999999, .seed = 0, .layer = 0, .step = 0}), "rounds to 1");
  EXPECT_THROWS(apply(x, rows, rows, {.p = 0.5, .seed = 4294967296, .layer = 0, .step = 0}), "seed = 4294967296");
  EXPECT_THROWS(apply(x, rows, rows, {.p = 0.5, .seed = 0, .layer = 65536, .step = 0}), "layer = 65536");
  EXPECT_THROWS(apply(x, rows, rows, {.p = 0.5, .seed = 0, .layer = 0, .step = -1}), "step = -1");
}

TEST("a counter adds to step and seed what a replayed graph cannot have as arguments") {
  const at::Tensor rows = ints(token_rows);
  const at::Tensor positions = ints(token_positions);
  const at::Tensor x = reference::noise({9, 100}, 3);
  const Dropout dropout{.p = 0.3, .seed = 4000000000, .layer = 4, .step = 70000};
  const at::Tensor counter = at::tensor({69000, 5, 3999999999}, at::kLong);
  const at::Tensor counted =
      operators::dropout(x, rows, positions, 0.3, 1, 4, static_cast<int64_t>(Site::ffn_output), 1000, counter);
  EXPECT(reference::same_bits(counted, apply(x, rows, positions, dropout)));
  EXPECT_THROWS(operators::dropout(x, rows, positions, 0.3, 1, 4, 1, 1, at::zeros({2}, at::kLong)), "counter");
}
