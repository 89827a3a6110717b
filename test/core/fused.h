#pragma once

#include "core/operators.h"
#include "reference.h"

/// What the tests of the fused token-wise operators share.
namespace fused {

/// Rows and positions of `count` tokens: rows of five tokens with large, unordered numbers.
struct Places {
  at::Tensor rows;
  at::Tensor positions;

  explicit Places(int64_t count)
      : rows(((at::arange(count, at::kLong) / 5).floor() * 7919 % 100003).to(at::kInt).contiguous()),
        positions((at::arange(count, at::kLong) % 5).to(at::kInt)) {}
};

inline constexpr reference::Dropout no_dropout{.p = 0.0, .seed = 0, .layer = 0, .step = 0};
inline constexpr reference::Dropout some_dropout{.p = 0.1, .seed = 4000000000, .layer = 23, .step = 804};

struct Shape {
  int64_t tokens;
  int64_t columns;
};

inline const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = [] {
    std::vector<Shape> list;
    for (const int64_t columns : {1, 7, 32, 384, 1000, 3072}) {
      for (const int64_t tokens : {0, 1, 3, 257}) {
        list.push_back({tokens, columns});
      }
    }
    return list;
  }();
  return all;
}

/// What steadytune::dropout multiplies with at this key, float64.
inline at::Tensor mask(const Places& places, int64_t columns, const reference::Dropout& dropout,
                       steadytune::Site site) {
  const at::Tensor ones = at::ones({places.rows.numel(), columns});
  return steadytune::operators::dropout(ones, places.rows, places.positions, dropout.p, dropout.seed, dropout.layer,
                                        static_cast<int64_t>(site), dropout.step)
      .to(at::kDouble);
}

/// Relative errors that rounding of the operands' dtype explains: outputs are rounded once.
inline double tolerance(at::ScalarType dtype) { return dtype == at::kFloat ? 1e-6 : 3e-3; }

/// Error of sums over tokens beside the sums of absolute terms [tokens, columns]: the sums themselves may cancel.
inline double sum_error(const at::Tensor& actual, const at::Tensor& expected, const at::Tensor& terms) {
  const double scale = terms.to(at::kDouble).abs().sum(0).norm().item<double>();
  return (actual.to(at::kDouble) - expected).norm().item<double>() / (scale + 1e-300);
}

}  // namespace fused
