#include <cmath>

#include "core/operators.h"
#include "expect.h"
#include "kernels/adamw.h"
#include "reference.h"

namespace operators = steadytune::operators;

namespace {

struct Arena {
  at::Tensor values;
  at::Tensor gradients;
  at::Tensor moment1;
  at::Tensor moment2;
  at::Tensor compute;
};

/// Three segments; the second one's gradients stand in bfloat16 at the beginning of its place, or as the same numbers
/// in float32.
constexpr int64_t first = 100;
constexpr int64_t last = 70100;
constexpr int64_t elements = 70500;

Arena arena(bool half) {
  Arena made{reference::noise({elements}, 1), reference::noise({elements}, 2), reference::noise({elements}, 3) * 0.1,
             reference::noise({elements}, 4).abs() * 0.01, at::zeros({elements}, at::kBFloat16)};
  const at::Tensor rounded = made.gradients.slice(0, first, last).to(at::kBFloat16);
  at::Tensor place = made.gradients.slice(0, first, last);
  if (half) {
    place.fill_(std::numeric_limits<float>::quiet_NaN());
    place.view(at::kBFloat16).slice(0, 0, last - first).copy_(rounded);
  } else {
    place.copy_(rounded);
  }
  return made;
}

at::Tensor bounds() { return at::tensor({int64_t{0}, first, first, last, last, elements}, at::kLong).view({3, 2}); }

at::Tensor flags(bool half) {
  return reference::ints({0, half ? static_cast<int32_t>(steadytune::segment_gradient_bfloat16) : 0, 0});
}

}  // namespace

TEST("gradients in bfloat16 give the norm and the step that the same numbers in float32 give, bit for bit") {
  const at::Tensor settings = at::tensor({1.0f, 0.01f, 0.5f, 0.0f, 1.0f, 0.0f}).view({3, 2});
  Arena results[2] = {arena(false), arena(true)};
  for (const bool half : {false, true}) {
    const Arena& in = results[half];
    const at::Tensor norm = operators::squared_norm(in.gradients, bounds(), flags(half));
    operators::adamw_(in.values, in.gradients, in.moment1, in.moment2, std::nullopt, bounds(), settings, flags(half),
                      norm, 1e-3, 0.9, 0.999, 1e-6, true, 3, 1.0, in.compute);
    EXPECT(std::isfinite(norm.item<double>()));
  }
  EXPECT(reference::same_bits(results[0].values, results[1].values));
  EXPECT(reference::same_bits(results[0].moment1, results[1].moment1));
  EXPECT(reference::same_bits(results[0].moment2, results[1].moment2));
  EXPECT(reference::same_bits(results[0].compute, results[1].compute));
  EXPECT(!reference::same_bits(results[0].values, arena(false).values));
}

TEST("sums over tokens agree with float64 and do not depend on the number of threads") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const int64_t tokens : {0, 1, 31, 33, 1000}) {
      const at::Tensor x = reference::noise({tokens, 45}, tokens + 1).to(dtype);
      const at::Tensor sums = operators::column_sums(x);
      const at::Tensor exact = x.to(at::kDouble);
      EXPECT_AT_MOST((sums.to(at::kDouble) - exact.sum(0)).norm().item<double>(),
                     1e-6 * exact.abs().sum(0).norm().item<double>());
      const reference::Threads one(1);
      EXPECT(reference::same_bits(sums, operators::column_sums(x)));
    }
  }
}
