#include "kernels/mixout.h"

#include <array>

#include "core/operators.h"
#include "expect.h"
#include "reference.h"
#include "safetensors.h"

using reference::relative_error;
namespace operators = steadytune::operators;

namespace {

struct Mixout {
  std::vector<double> p;
  bool column = false;
  bool exact_gradient = true;
  int64_t seed = 4000000000;
  int64_t layer = 23;
  int64_t site = 12;
  int64_t step = 804;
  int64_t micro_batch = 1;
};

at::Tensor apply(const at::Tensor& values, const at::Tensor& target, const Mixout& mixout,
                 at::ScalarType dtype = at::kFloat, const std::optional<at::Tensor>& mask = std::nullopt) {
  return operators::mixout(values, target, mask, mixout.p, mixout.column, mixout.exact_gradient, dtype, mixout.seed,
                           mixout.layer, mixout.site, mixout.step, mixout.micro_batch);
}

/// M [rows, columns] of one parameter, one Philox block for every single element: 1 where the target stands in.
at::Tensor mask_of(const Mixout& mixout, int64_t rows, int64_t columns) {
  const auto key = steadytune::philox_key(static_cast<uint32_t>(mixout.seed), 5, static_cast<uint32_t>(mixout.layer),
                                          static_cast<uint32_t>(mixout.site));
  const auto threshold = static_cast<uint32_t>(std::lround(mixout.p.at(0) * 65536.0));
  at::Tensor mask = at::empty({rows, columns}, at::kDouble);
  auto m = mask.accessor<double, 2>();
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t element = mixout.column ? column : row * columns + column;
      const auto bits =
          steadytune::philox4x32({{static_cast<uint32_t>(mixout.step), static_cast<uint32_t>(mixout.micro_batch),
                                   static_cast<uint32_t>(element / 8), 0}},
                                 key);
      const uint32_t word = bits.word[(element % 8) / 2];
      const uint32_t lane = element % 2 == 0 ? word & 0xFFFF : word >> 16;
      m[row][column] = lane >= threshold ? 0.0 : 1.0;
    }
  }
  return mask;
}

/// The formula of the paper by plain operators in float64, which autograd follows.
at::Tensor formula(const at::Tensor& values, const at::Tensor& target, const at::Tensor& mask, double p) {
  return ((1.0 - mask) * values + mask * target - p * target) / (1.0 - p);
}

double rounded(double p) { return std::round(p * 65536.0) / 65536.0; }

/// The factors alone: 0 where the target stands in.
at::Tensor factors(const Mixout& mixout, int64_t rows, int64_t columns) {
  return apply(at::ones({rows, columns}), at::zeros({rows, columns}), mixout);
}

const std::vector<std::array<int64_t, 2>> sizes{{1, 1},    {1, 7},    {3, 8},     {5, 13},     {64, 96},
                                                {37, 129}, {3, 5000}, {600, 100}, {384, 1536}, {0, 8}};

}  // namespace

TEST("the mixed weight and its gradient follow the formula in float64, for both masks, in both dtypes") {
  for (const auto& [rows, columns] : sizes) {
    for (const bool column : {false, true}) {
      for (const double p : {0.1, 0.5, 0.9}) {
        const Mixout mixout{.p = {p}, .column = column};
        const at::Tensor values = reference::noise({rows, columns}, 1);
        const at::Tensor target = reference::noise({rows, columns}, 2);
        const at::Tensor mask = mask_of(mixout, rows, columns);
        for (const auto dtype : {at::kFloat, at::kBFloat16}) {
          const double limit = dtype == at::kFloat ? 3e-7 : 3e-3;
          const at::Tensor weights = reference::noise({rows, columns}, 3).to(dtype);
          at::Tensor exact_leaf = values.to(at::kDouble).requires_grad_(true);
          const at::Tensor expected = formula(exact_leaf, target.to(at::kDouble), mask, rounded(p));
          expected.backward(weights.to(at::kDouble));
          at::Tensor leaf = values.clone().requires_grad_(true);
          const at::Tensor output = apply(leaf, target, mixout, dtype);
          output.backward(weights);
          EXPECT(output.scalar_type() == dtype && leaf.grad().scalar_type() == at::kFloat);
          const double error = relative_error(output, expected);
          const double grad_error = relative_error(leaf.grad(), exact_leaf.grad());
          EXPECT(error <= limit && grad_error <= 3e-7, rows, " x ", columns, " column ", column, " p ", p, ": ", error,
                 ", gradient ", grad_error);
        }
      }
    }
  }
}

TEST("the released gradient lacks the factor 1 / (1 - p) and is otherwise the same") {
  for (const bool column : {false, true}) {
    const at::Tensor values = reference::noise({40, 70}, 1);
    const at::Tensor target = reference::noise({40, 70}, 2);
    const at::Tensor weights = reference::noise({40, 70}, 3);
    Mixout mixout{.p = {0.75}, .column = column};
    at::Tensor exact = values.clone().requires_grad_(true);
    const at::Tensor output = apply(exact, target, mixout);
    output.backward(weights);
    mixout.exact_gradient = false;
    at::Tensor released = values.clone().requires_grad_(true);
    const at::Tensor released_output = apply(released, target, mixout);
    released_output.backward(weights);
    EXPECT(reference::same_bits(released_output.detach(), output.detach()));
    EXPECT(at::equal(released.grad(), exact.grad() * 0.25));
    EXPECT(at::equal(released.grad(), weights * (1.0 - mask_of(mixout, 40, 70)).to(at::kFloat)));
  }
}

TEST("stacked parameters are mixed as each would be alone, with sites that count on, bit for bit") {
  const at::Tensor values = reference::noise({96, 50}, 1);
  const at::Tensor target = reference::noise({96, 50}, 2);
  const at::Tensor weights = reference::noise({96, 50}, 3);
  for (const bool column : {false, true}) {
    const std::vector<double> p{0.3, 0.0, 0.9};
    at::Tensor leaf = values.clone().requires_grad_(true);
    const at::Tensor output = apply(leaf, target, {.p = p, .column = column, .site = 4});
    output.backward(weights);
    for (int64_t part = 0; part < 3; ++part) {
      const auto rows = [&](const at::Tensor& whole) {
        return whole.slice(0, 32 * part, 32 * (part + 1)).contiguous();
      };
      const Mixout alone{.p = {p[part]}, .column = column, .site = 4 + part};
      at::Tensor part_leaf = rows(values).requires_grad_(true);
      const at::Tensor part_output = apply(part_leaf, rows(target), alone);
      part_output.backward(rows(weights));
      EXPECT(reference::same_bits(rows(output.detach()), part_output.detach()), "part ", part);
      EXPECT(reference::same_bits(rows(leaf.grad()), part_leaf.grad()), "part ", part);
    }
    EXPECT(at::equal(output.detach().slice(0, 32, 64), values.slice(0, 32, 64)));
  }
}

TEST("a weight at its target stays there in every bit, and so does one with p = 0") {
  const at::Tensor values = reference::noise({33, 100}, 1);
  EXPECT(at::equal(apply(values, values, {.p = {0.9}}), values));
  EXPECT(at::equal(apply(values, reference::noise({33, 100}, 2), {.p = {0.0}}), values));
}

TEST("a given mask stands in for the drawn one, with p as it is given (golden mixout.safetensors)") {
  const std::string path = STEADYTUNE_GOLDEN "/mixout.safetensors";
  const at::Tensor x = read_fixture(path, "x");
  const at::Tensor target = read_fixture(path, "target");
  const at::Tensor bias = read_fixture(path, "bias");
  for (const bool column : {false, true}) {
    for (const std::string p : {"0.1", "0.5", "0.9"}) {
      const std::string name = (column ? "column.p" : "element.p") + p + ".";
      at::Tensor mask = read_fixture(path, name + "mask");
      if (column) mask = mask.slice(0, 0, 1);
      for (const auto dtype : {at::kFloat, at::kBool}) {
        at::Tensor weight = read_fixture(path, "weight").requires_grad_(true);
        const Mixout mixout{.p = {std::stod(p)}, .column = column};
        const at::Tensor output = at::linear(x, apply(weight, target, mixout, at::kFloat, mask.to(dtype)), bias);
        output.backward(read_fixture(path, "grad_output"));
        EXPECT_AT_MOST(relative_error(output.detach(), read_fixture(path, name + "output")), 1e-6);
        EXPECT_AT_MOST(relative_error(weight.grad(), read_fixture(path, name + "grad_weight")), 1e-6);
      }
    }
  }
}

TEST("masks put the target in with probability p, per element and per column") {
  for (const double p : {0.1, 0.5, 0.9}) {
    // Four standard deviations of a million draws.
    const double limit = 4 * std::sqrt(p * (1.0 - p) / 1e6) + 1e-5;
    const at::Tensor element = factors({.p = {p}}, 1000, 1000);
    EXPECT_AT_MOST(std::abs(element.eq(0).sum().item<int64_t>() / 1e6 - p), limit);
    const at::Tensor column = factors({.p = {p}, .column = true}, 3, 1000000);
    EXPECT(at::equal(column, column[0].expand({3, 1000000})));
    EXPECT_AT_MOST(std::abs(column[0].eq(0).sum().item<int64_t>() / 1e6 - p), limit);
  }
}

TEST("the mean of the mixed weight over many masks is the weight") {
  constexpr int64_t draws = 4000;
  const at::Tensor values = reference::noise({8, 16}, 1);
  const at::Tensor target = reference::noise({8, 16}, 2);
  for (const bool column : {false, true}) {
    for (const double p : {0.1, 0.5, 0.9}) {
      at::Tensor sum = at::zeros({8, 16}, at::kDouble);
      for (int64_t step = 0; step < draws; ++step) {
        sum += apply(values, target, {.p = {p}, .column = column, .step = step});
      }
      // An element deviates by |W - U| sqrt(p / (1 - p)); five standard errors, since there are 128 of them.
      const at::Tensor limit = (values - target).abs().to(at::kDouble) * (5 * std::sqrt(p / (1 - p) / draws)) + 1e-4;
      EXPECT((sum / draws - values).abs().lt(limit).all().item<bool>(), "column ", column, " p ", p);
    }
  }
}

TEST("no two steps, micro-batches, layers, sites or seeds share a mask, and one key always gives the same") {
  for (const bool column : {false, true}) {
    const auto draw = [&](int64_t seed, int64_t layer, int64_t site, int64_t step, int64_t micro_batch) {
      return factors({.p = {0.5},
                      .column = column,
                      .seed = seed,
                      .layer = layer,
                      .site = site,
                      .step = step,
                      .micro_batch = micro_batch},
                     1, 1024);
    };
    std::vector<at::Tensor> masks;
    for (const int64_t step : {1, 2}) {
      for (const int64_t micro_batch : {0, 1, 2}) {
        for (const int64_t layer : {0, 1, 2}) {
          for (const int64_t site : {0, 1, 2}) {
            masks.push_back(draw(1, layer, site, step, micro_batch));
            EXPECT(at::equal(masks.back(), draw(1, layer, site, step, micro_batch)));
          }
        }
      }
    }
    masks.push_back(draw(2, 0, 0, 1, 0));
    for (size_t i = 0; i < masks.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        // 512 +- 16 differ where masks are independent; six standard deviations for some thousand pairs.
        const int64_t differing = masks[i].ne(masks[j]).sum().item<int64_t>();
        EXPECT(differing > 512 - 96 && differing < 512 + 96, differing, " of 1024 differ");
      }
    }
  }
}

TEST("mixout does not depend on the number of threads, bit for bit") {
  const at::Tensor values = reference::noise({777, 300}, 1);
  const at::Tensor target = reference::noise({777, 300}, 2);
  const at::Tensor weights = reference::noise({777, 300}, 3);
  for (const bool column : {false, true}) {
    const auto run = [&](int threads) {
      const reference::Threads count(threads);
      at::Tensor leaf = values.clone().requires_grad_(true);
      const at::Tensor output = apply(leaf, target, {.p = {0.2, 0.4, 0.6}, .column = column});
      output.backward(weights);
      return std::pair{output.detach(), leaf.grad()};
    };
    const auto [output, grad] = run(1);
    for (const int threads : {2, 3, 7}) {
      const auto [other_output, other_grad] = run(threads);
      EXPECT(reference::same_bits(other_output, output), threads, " threads");
      EXPECT(reference::same_bits(other_grad, grad), threads, " threads");
    }
  }
}

TEST("bad arguments of mixout are refused by name") {
  const at::Tensor w = at::ones({4, 8});
  const auto masked = [&](const at::Tensor& mask, const Mixout& mixout) {
    return apply(w, w, mixout, at::kFloat, mask);
  };
  EXPECT_THROWS(apply(w.to(at::kDouble), w, {.p = {0.5}}), "values must be Float");
  EXPECT_THROWS(apply(w, at::ones({4, 7}), {.p = {0.5}}), "target is [4, 7], values are [4, 8]");
  EXPECT_THROWS(apply(w.t(), w.t(), {.p = {0.5}}), "values must be contiguous");
  EXPECT_THROWS(apply(w, w, {.p = {0.5}}, at::kHalf), "dtype must be float32 or bfloat16");
  EXPECT_THROWS(apply(w, w, {.p = {1.0}}), "p = 1");
  EXPECT_THROWS(apply(w, w, {.p = {-0.1}}), "p = -0.1");
  EXPECT_THROWS(apply(w, w, {.p = {0.9999999}}), "rounds to 1");
  EXPECT_THROWS(apply(w, w, {.p = {}}), "does not hold 0 parameters");
  EXPECT_THROWS(apply(w, w, {.p = {0.5, 0.5, 0.5}}), "4 rows does not hold 3 parameters");
  EXPECT_THROWS(apply(w, w, {.p = {0.5, 0.5}, .site = 255}), "site = 256");
  EXPECT_THROWS(apply(w, w, {.p = {0.5}, .micro_batch = -1}), "micro_batch = -1");
  EXPECT_THROWS(masked(at::ones({4, 8}, at::kInt), {.p = {0.5}}), "mask must be bool or float32");
  EXPECT_THROWS(masked(at::ones({1, 8}), {.p = {0.5}}), "a mask of [1, 8]");
  EXPECT_THROWS(masked(at::ones({4, 8}), {.p = {0.5}, .column = true}), "a mask of [4, 8]");
  EXPECT_THROWS(masked(at::ones({4, 8}), {.p = {0.5, 0.5}}), "for 2 parameters");
}
