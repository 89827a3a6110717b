#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/adamw.h"
#include "operators.h"

using kernels::difference;
using reference::ints;
using reference::noise;
using reference::same_bits;

namespace {

struct Table {
  at::Tensor bounds;
  at::Tensor settings;
  at::Tensor flags;
};

/// Every kind of segment: short and long, at odd places, empty, frozen, next to others and apart.
Table table() {
  using namespace steadytune;
  return {
      at::tensor({0, 700, 704, 20003, 20003, 20010, 20016, 20016, 20480, 29000, 29001, 29009, 29024, 29025}, at::kLong)
          .view({-1, 2}),
      at::tensor({1.0, 0.0, 0.5, 0.01, 1.0, 0.1, 1.0, 0.0, 0.9, 0.01, 1.0, 0.02, 1.0, 0.0}, at::kFloat).view({-1, 2}),
      ints({0, segment_decay_towards_start, segment_frozen, 0, segment_decay_unscaled,
            segment_decay_unscaled | segment_decay_towards_start, 0}),
  };
}

constexpr int64_t elements = 29100;

/// A word table of which some rows were touched: a segment of 96 elements each.
Table touched_rows(int64_t rows) {
  const at::Tensor begin = at::arange(rows, at::kLong) * 96 * 3;
  return {at::stack({begin, begin + 96}, 1).contiguous(), at::ones({rows, 2}) * 0.5, at::zeros({rows}, at::kInt)};
}

struct State {
  at::Tensor values = noise({elements}, 1);
  at::Tensor moment1 = noise({elements}, 2) * 0.1;
  at::Tensor moment2 = noise({elements}, 3).abs();
  at::Tensor compute = at::zeros({elements}, at::kBFloat16);

  bool same(const State& other) const {
    return same_bits(values, other.values) && same_bits(moment1, other.moment1) && same_bits(moment2, other.moment2) &&
           same_bits(compute, other.compute);
  }
};

struct Run {
  bool cuda;
  bool ascending = true;
};

void step(const Run& run, State& state, const at::Tensor& gradients, const Table& cut, const at::Tensor& norm,
          double max_grad_norm, bool bias_correction) {
  const at::Tensor start = noise({elements}, 7);
  const auto call = [&](const auto& function) {
    function(state.values, gradients, state.moment1, state.moment2, start, cut.bounds, cut.settings, cut.flags, norm,
             3e-3, 0.9, 0.999, 1e-6, bias_correction, 7, max_grad_norm, state.compute);
  };
  if (run.cuda) {
    call([&](auto&&... arguments) { kernels::adamw_.cuda_once(run.ascending, arguments...); });
  } else {
    call([&](auto&&... arguments) { kernels::adamw_.cpu(arguments...); });
  }
}

}  // namespace

TEST("CUDA: an AdamW step agrees with the CPU for every kind of segment and keeps the bits between them") {
  const Table cut = table();
  const at::Tensor gradients = noise({elements}, 4);
  const at::Tensor norm = kernels::squared_norm.cpu(gradients, cut.bounds, cut.flags);
  for (const bool bias_correction : {true, false}) {
    for (const double max_grad_norm : {0.0, 1.0}) {
      const State before;
      State expected;
      State actual;
      State descending;
      step({.cuda = false}, expected, gradients, cut, norm, max_grad_norm, bias_correction);
      step({.cuda = true}, actual, gradients, cut, norm, max_grad_norm, bias_correction);
      step({.cuda = true, .ascending = false}, descending, gradients, cut, norm, max_grad_norm, bias_correction);
      EXPECT(actual.same(descending));
      EXPECT_AT_MOST(difference(actual.values, expected.values), 2e-7);
      EXPECT_AT_MOST(difference(actual.moment1, expected.moment1), 2e-7);
      EXPECT_AT_MOST(difference(actual.moment2, expected.moment2), 2e-7);
      // Where values differ in their last bit the copy may round to the neighbour.
      EXPECT_AT_MOST(difference(actual.compute, expected.compute), 8e-3);
      for (const auto& [begin, end] :
           std::vector<std::pair<int64_t, int64_t>>{{700, 704}, {20003, 20480}, {29025, elements}}) {
        EXPECT(same_bits(actual.values.slice(0, begin, end), before.values.slice(0, begin, end)), begin);
        EXPECT(same_bits(actual.moment1.slice(0, begin, end), before.moment1.slice(0, begin, end)), begin);
        EXPECT(same_bits(actual.compute.slice(0, begin, end), before.compute.slice(0, begin, end)), begin);
      }
      for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{0, 700}, {20480, 29000}}) {
        EXPECT(same_bits(actual.compute.slice(0, begin, end), actual.values.slice(0, begin, end).to(at::kBFloat16)),
               begin);
      }
    }
  }
}

TEST("CUDA: AdamW goes over thousands of touched words, and over no segment at all") {
  const Table words = touched_rows(100);
  const at::Tensor gradients = noise({elements}, 4);
  const at::Tensor norm = kernels::squared_norm.cuda(gradients, words.bounds, words.flags);
  EXPECT_AT_MOST(difference(norm, kernels::squared_norm.cpu(gradients, words.bounds, words.flags)), 1e-14);
  State expected;
  State actual;
  step({.cuda = false}, expected, gradients, words, norm, 1.0, true);
  step({.cuda = true}, actual, gradients, words, norm, 1.0, true);
  EXPECT_AT_MOST(difference(actual.values, expected.values), 2e-7);
  EXPECT(same_bits(actual.values.slice(0, 96, 288), expected.values.slice(0, 96, 288)));

  const Table many{(at::arange(5000, at::kLong).view({-1, 1}) * 2 + at::tensor({0, 1}, at::kLong)).contiguous(),
                   at::ones({5000, 2}), at::zeros({5000}, at::kInt)};
  EXPECT_AT_MOST(difference(kernels::squared_norm.cuda(gradients, many.bounds, many.flags),
                            kernels::squared_norm.cpu(gradients, many.bounds, many.flags)),
                 1e-14);

  const Table none{at::empty({0, 2}, at::kLong), at::empty({0, 2}), at::empty({0}, at::kInt)};
  State untouched;
  step({.cuda = true}, untouched, gradients, none, norm, 1.0, true);
  EXPECT(untouched.same(State()));
  EXPECT_EQUAL(kernels::squared_norm.cuda(gradients, none.bounds, none.flags).item<double>(), 0.0);
}

TEST("CUDA: the scheduled step reads its numbers from memory, and stops for good where one is not finite") {
  const Table cut = table();
  const at::Tensor gradients = noise({elements}, 4);
  const at::Tensor norm = kernels::squared_norm.cuda(gradients, cut.bounds, cut.flags);
  const at::Tensor start = noise({elements}, 7);
  at::Tensor diverged_at = at::zeros({}, at::kLong);
  const auto scheduled = [&](State& state, int64_t number, const at::Tensor& squares, const at::Tensor& loss) {
    kernels::adamw_scheduled_.cuda_once(true, state.values, gradients, state.moment1, state.moment2, start, cut.bounds,
                                        cut.settings, cut.flags, squares, loss, at::scalar_tensor(3e-3, at::kDouble),
                                        at::tensor({number, int64_t{0}, int64_t{0}}, at::kLong), diverged_at, 0.9,
                                        0.999, 1e-6, true, 1.0, state.compute);
  };
  const at::Tensor loss = at::scalar_tensor(0.7, at::kFloat);
  const at::Tensor infinite = at::scalar_tensor(std::numeric_limits<double>::infinity(), at::kDouble);
  State plain;
  step({.cuda = true}, plain, gradients, cut, norm, 1.0, true);
  State actual;
  scheduled(actual, 7, norm, loss);
  EXPECT(actual.same(plain));
  EXPECT_EQUAL(diverged_at.item<int64_t>(), 0);
  State stopped;
  scheduled(stopped, 8, infinite, loss);
  EXPECT_EQUAL(diverged_at.item<int64_t>(), 8);
  scheduled(stopped, 9, norm, loss);
  EXPECT_EQUAL(diverged_at.item<int64_t>(), 8);
  diverged_at.zero_();
  scheduled(stopped, 10, norm, infinite);
  EXPECT_EQUAL(diverged_at.item<int64_t>(), 10);
  EXPECT(stopped.same(State()));
  step({.cuda = true}, stopped, gradients, cut, infinite, 1.0, true);
  EXPECT(stopped.same(State()));
}

TEST("CUDA: norm and distances are the CPU's to the last digits of float64, whatever the size of the terms") {
  const Table cut = table();
  for (const double scale : {1.0, 1e-30, 1e30}) {
    const at::Tensor values = noise({elements}, 5) * scale;
    const at::Tensor start = noise({elements}, 6) * scale;
    EXPECT_AT_MOST(difference(kernels::squared_norm.cuda(values, cut.bounds, cut.flags),
                              kernels::squared_norm.cpu(values, cut.bounds, cut.flags)),
                   1e-13);
    const at::Tensor actual = kernels::segment_squared_distance.cuda(values, start, cut.bounds);
    const at::Tensor expected = kernels::segment_squared_distance.cpu(values, start, cut.bounds);
    for (int64_t segment = 0; segment < cut.bounds.size(0); ++segment) {
      EXPECT_AT_MOST(difference(actual[segment], expected[segment]), 1e-13);
    }
  }
}
