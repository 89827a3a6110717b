#include "kernels/normal.h"

#include "core/operators.h"
#include "expect.h"
#include "reference.h"

namespace operators = steadytune::operators;

namespace {

at::Tensor normal(int64_t count, double std, int64_t seed, int64_t stream = 1, int64_t layer = 0, int64_t site = 0) {
  const at::Tensor x = at::empty({count});
  operators::normal_(x, std, seed, stream, layer, site);
  return x;
}

}  // namespace

TEST("normal_ has the moments and tails of N(0, std^2)") {
  const int64_t count = 4000000;
  const at::Tensor z = normal(count, 0.02, 42).to(at::kDouble) / 0.02;
  const double n = static_cast<double>(count);
  // Five standard errors each: 1, sqrt(2), sqrt(15) and sqrt(96) over sqrt(n).
  EXPECT_AT_MOST(std::abs(z.mean().item<double>()), 5 / std::sqrt(n));
  EXPECT_AT_MOST(std::abs(z.square().mean().item<double>() - 1.0), 5 * std::sqrt(2 / n));
  EXPECT_AT_MOST(std::abs(z.pow(3).mean().item<double>()), 5 * std::sqrt(15 / n));
  EXPECT_AT_MOST(std::abs(z.pow(4).mean().item<double>() - 3.0), 5 * std::sqrt(96 / n));
  const double beyond3 = z.abs().gt(3.0).to(at::kDouble).mean().item<double>();
  EXPECT_AT_MOST(std::abs(beyond3 - 0.0026998), 5 * std::sqrt(0.0027 / n));
  EXPECT(z.isfinite().all().item<bool>());
}

TEST("neighbours are not correlated, within a pair, within a block and across blocks") {
  const int64_t count = 1000000;
  const at::Tensor z = normal(count, 1.0, 7).to(at::kDouble);
  for (int64_t lag = 1; lag <= 8; ++lag) {
    const double correlation = (z.slice(0, 0, count - lag) * z.slice(0, lag, count)).mean().item<double>();
    EXPECT_AT_MOST(std::abs(correlation), 5e-3);
  }
}

TEST("an element depends on its index and the key alone: not on length or threads") {
  const at::Tensor whole = normal(100003, 1.0, 5);
  for (const int64_t count : {0, 1, 2, 3, 4, 5, 1000, 100002}) {
    EXPECT(at::equal(normal(count, 1.0, 5), whole.slice(0, 0, count)), "count ", count);
  }
  for (const int threads : {1, 3}) {
    const reference::Threads other(threads);
    EXPECT(reference::same_bits(normal(100003, 1.0, 5), whole));
  }
}

TEST("the elements are those of the scalar functor") {
  const at::Tensor x = normal(10, 3.0, 9, 2, 4, 6);
  for (int64_t i = 0; i < 10; ++i) {
    double block[4];
    steadytune::normal_block(steadytune::philox_key(9, 2, 4, 6), i / 4, block);
    EXPECT_EQUAL(x[i].item<float>(), static_cast<float>(3.0 * block[i % 4]));
  }
}

TEST("seed, stream, layer and site each give other numbers") {
  const at::Tensor base = normal(64, 1.0, 1, 1, 1, 1);
  for (const at::Tensor& other : {normal(64, 1.0, 2, 1, 1, 1), normal(64, 1.0, 1, 2, 1, 1), normal(64, 1.0, 1, 1, 2, 1),
                                  normal(64, 1.0, 1, 1, 1, 2)}) {
    EXPECT_EQUAL(other.eq(base).sum().item<int64_t>(), 0);
  }
}

TEST("the smallest and largest random words give finite numbers") {
  for (const uint32_t first : {0u, 0xFFFFFFFFu}) {
    for (const uint32_t second : {0u, 0xFFFFFFFFu}) {
      const auto pair = steadytune::box_muller(first, second);
      EXPECT(std::isfinite(pair.first) && std::isfinite(pair.second));
      EXPECT_AT_MOST(std::hypot(pair.first, pair.second), 6.8);
    }
  }
}

TEST("bad arguments of normal_ are refused by name") {
  EXPECT_THROWS(normal(4, -1.0, 0), "std = -1");
  EXPECT_THROWS(normal(4, 1.0, -1), "seed = -1");
  EXPECT_THROWS(normal(4, 1.0, 0, 256), "stream = 256");
  EXPECT_THROWS(operators::normal_(at::empty({4, 4}).t(), 1.0, 0, 1, 0, 0), "x must be contiguous");
  EXPECT_THROWS(operators::normal_(at::empty({4}, at::kDouble), 1.0, 0, 1, 0, 0), "x must be Float");
}
