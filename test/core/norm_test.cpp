#include <ATen/core/grad_mode.h>

#include <limits>

#include "expect.h"
#include "fused.h"

using fused::no_dropout;
using fused::Places;
using fused::some_dropout;
using reference::Dropout;
using reference::relative_error;
using steadytune::Site;
namespace operators = steadytune::operators;

namespace {

constexpr double eps = 1e-12;

struct Inputs {
  at::Tensor x;
  at::Tensor bias;
  at::Tensor residual;
  at::Tensor weight;
  at::Tensor norm_bias;

  Inputs(int64_t tokens, int64_t columns, at::ScalarType dtype)
      : x(reference::noise({tokens, columns}, 1).to(dtype)),
        bias(reference::noise({columns}, 2)),
        residual(reference::noise({tokens, columns}, 3).to(dtype)),
        weight(reference::noise({columns}, 4) + 1.5),
        norm_bias(reference::noise({columns}, 5)) {}
};

struct Outputs {
  at::Tensor y;
  at::Tensor normalized;
  at::Tensor rstd;
};

struct Gradients {
  at::Tensor x;
  at::Tensor residual;
  at::Tensor bias;
  at::Tensor weight;
  at::Tensor norm_bias;

  bool same_bits(const Gradients& other) const {
    return reference::same_bits(x, other.x) && reference::same_bits(residual, other.residual) &&
           reference::same_bits(bias, other.bias) && reference::same_bits(weight, other.weight) &&
           reference::same_bits(norm_bias, other.norm_bias);
  }
};

Outputs forward(const Inputs& in, const Places& places, const Dropout& dropout, double epsilon = eps) {
  auto [y, normalized, rstd] = operators::dropout_add_norm(
      in.x, in.bias, in.residual, in.weight, in.norm_bias, epsilon, places.rows, places.positions, dropout.p,
      dropout.seed, dropout.layer, static_cast<int64_t>(Site::ffn_output), dropout.step);
  return {y, normalized, rstd};
}

Gradients backward(const at::Tensor& grad_y, const Outputs& out, const at::Tensor& weight, const Places& places,
                   const Dropout& dropout) {
  auto [x, residual, bias, norm_weight, norm_bias] = operators::dropout_add_norm_backward(
      grad_y, out.normalized, out.rstd, weight, places.rows, places.positions, dropout.p, dropout.seed, dropout.layer,
      static_cast<int64_t>(Site::ffn_output), dropout.step);
  return {x, residual, bias, norm_weight, norm_bias};
}

/// LayerNorm(residual + mask * (x + bias)) * weight + norm_bias, by plain operators that autograd follows.
at::Tensor plain(const Inputs& in, const at::Tensor& mask, double epsilon = eps) {
  const at::Tensor h = in.residual + mask * (in.x + in.bias);
  return at::layer_norm(h, {h.size(1)}, in.weight, in.norm_bias, epsilon);
}

/// The same inputs in float64, as leaves.
Inputs exact(const Inputs& in) {
  Inputs copy = in;
  for (at::Tensor* tensor : {&copy.x, &copy.bias, &copy.residual, &copy.weight, &copy.norm_bias}) {
    *tensor = tensor->to(at::kDouble).detach().clone().requires_grad_(true);
  }
  return copy;
}

}  // namespace

TEST("dropout, sum and LayerNorm equal ATen in float64, with gradients by autograd, for every shape and dtype") {
  for (const auto& [tokens, columns] : fused::shapes()) {
    const Places places(tokens);
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      const Inputs in(tokens, columns, dtype);
      const at::Tensor grad_y = reference::noise({tokens, columns}, 6).to(dtype);
      for (const Dropout& dropout : {no_dropout, some_dropout}) {
        // A single column has no variance: the epsilon alone decides, and it must not vanish beside rounding.
        const double epsilon = columns == 1 ? 1e-3 : eps;
        const Inputs leaves = exact(in);
        const at::Tensor mask = fused::mask(places, columns, dropout, Site::ffn_output);
        const at::Tensor expected = plain(leaves, mask, epsilon);
        expected.backward(grad_y.to(at::kDouble));
        const Outputs out = forward(in, places, dropout, epsilon);
        const Gradients grads = backward(grad_y, out, in.weight, places, dropout);
        EXPECT(out.y.scalar_type() == dtype && out.normalized.scalar_type() == dtype);
        EXPECT(out.rstd.scalar_type() == at::kFloat && out.rstd.numel() == tokens);
        EXPECT(grads.bias.scalar_type() == at::kFloat && grads.bias.numel() == columns);
        EXPECT_AT_MOST(relative_error(out.y, expected), fused::tolerance(dtype));
        const double tolerance = 3 * fused::tolerance(dtype);
        if (columns > 1) {
          EXPECT_AT_MOST(relative_error(grads.x, leaves.x.grad()), tolerance);
          EXPECT_AT_MOST(relative_error(grads.residual, leaves.residual.grad()), tolerance);
          EXPECT_AT_MOST(fused::sum_error(grads.bias, leaves.bias.grad(), leaves.x.grad()), tolerance);
          EXPECT_AT_MOST(fused::sum_error(grads.weight, leaves.weight.grad(), grad_y), tolerance);
        } else {
          // Nothing but rounding, times the root of 1 / epsilon.
          EXPECT_AT_MOST(grads.residual.abs().sum().item<double>(), 1e-5 * static_cast<double>(tokens));
        }
        EXPECT_AT_MOST(fused::sum_error(grads.norm_bias, leaves.norm_bias.grad(), grad_y), 1e-6);
      }
    }
  }
}

TEST("gradients agree with finite differences in float64 of the plain form") {
  const Places places(3);
  const Inputs in(3, 7, at::kFloat);
  const at::Tensor grad_y = reference::noise({3, 7}, 6);
  const at::Tensor mask = fused::mask(places, 7, some_dropout, Site::ffn_output);
  const Gradients grads = backward(grad_y, forward(in, places, some_dropout), in.weight, places, some_dropout);
  const std::vector<std::pair<at::Tensor Inputs::*, at::Tensor>> pairs{{&Inputs::x, grads.x},
                                                                       {&Inputs::residual, grads.residual},
                                                                       {&Inputs::bias, grads.bias},
                                                                       {&Inputs::weight, grads.weight},
                                                                       {&Inputs::norm_bias, grads.norm_bias}};
  const at::NoGradGuard no_grad;
  for (const auto& [member, grad] : pairs) {
    for (int64_t i = 0; i < grad.numel(); ++i) {
      const auto loss = [&](double shift) {
        const Inputs moved = exact(in);
        (moved.*member).view({-1})[i] += shift;
        return (plain(moved, mask) * grad_y.to(at::kDouble)).sum().item<double>();
      };
      const double h = 1e-5;
      EXPECT_AT_MOST(std::abs((loss(h) - loss(-h)) / (2 * h) - grad.view({-1})[i].item<double>()), 1e-5);
    }
  }
}

TEST("normalized has mean 0 and variance 1, also where the mean is large beside the spread") {
  Inputs in(5, 1000, at::kFloat);
  in.residual = in.residual + 4096.0;
  const Outputs out = forward(in, Places(5), no_dropout);
  const at::Tensor normalized = out.normalized.to(at::kDouble);
  EXPECT_AT_MOST(normalized.mean(1).abs().max().item<double>(), 1e-3);
  EXPECT_AT_MOST((normalized.square().mean(1) - 1.0).abs().max().item<double>(), 1e-4);
  // The sum itself is rounded to 2^-11 at this size, so the plain form starts from the same rounded numbers.
  const at::Tensor h = (in.residual + (in.x + in.bias)).to(at::kDouble);
  const at::Tensor expected = at::rsqrt(h.var(1, false) + eps);
  EXPECT_AT_MOST(relative_error(out.rstd, expected), 1e-5);
}

TEST("constant tokens are divided by the root of epsilon, not by zero") {
  Inputs in(2, 64, at::kFloat);
  in.x.fill_(1.0);
  in.bias.fill_(0.5);
  in.residual.fill_(0.25);
  const Outputs out = forward(in, Places(2), no_dropout, 1e-6);
  EXPECT_AT_MOST(std::abs(out.rstd[0].item<double>() * 1e-3 - 1.0), 1e-5);
  EXPECT(at::equal(out.y, in.norm_bias.expand({2, 64})));
}

TEST("without dropout the two gradients are one tensor") {
  const Inputs in(3, 32, at::kFloat);
  const Places places(3);
  const at::Tensor grad_y = reference::noise({3, 32}, 6);
  const Gradients grads = backward(grad_y, forward(in, places, no_dropout), in.weight, places, no_dropout);
  EXPECT(grads.x.data_ptr() == grads.residual.data_ptr());
  const Gradients dropped = backward(grad_y, forward(in, places, some_dropout), in.weight, places, some_dropout);
  EXPECT(dropped.x.data_ptr() != dropped.residual.data_ptr());
}

TEST("dropout, sum and LayerNorm do not depend on the number of threads, bit for bit") {
  const Places places(257);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Inputs in(257, 1000, dtype);
    const at::Tensor grad_y = reference::noise({257, 1000}, 6).to(dtype);
    for (const Dropout& dropout : {no_dropout, some_dropout}) {
      const reference::Threads one(1);
      const Outputs out = forward(in, places, dropout);
      const Gradients grads = backward(grad_y, out, in.weight, places, dropout);
      for (const int threads : {2, 3, 8}) {
        const reference::Threads many(threads);
        const Outputs other = forward(in, places, dropout);
        EXPECT(reference::same_bits(other.y, out.y) && reference::same_bits(other.normalized, out.normalized) &&
               reference::same_bits(other.rstd, out.rstd));
        EXPECT(backward(grad_y, other, in.weight, places, dropout).same_bits(grads), threads, " threads");
      }
    }
  }
}

TEST("a NaN spoils its own token and no other") {
  const Places places(9);
  Inputs in(9, 100, at::kFloat);
  const at::Tensor grad_y = reference::noise({9, 100}, 6);
  const Outputs before = forward(in, places, some_dropout);
  const Gradients grads_before = backward(grad_y, before, in.weight, places, some_dropout);
  in.x[4][37] = std::numeric_limits<float>::quiet_NaN();
  const Outputs after = forward(in, places, some_dropout);
  const Gradients grads_after = backward(grad_y, after, in.weight, places, some_dropout);
  const auto others = [](const at::Tensor& all) { return at::cat({all.slice(0, 0, 4), all.slice(0, 5, 9)}); };
  for (const at::Tensor& spoiled : {after.y, after.normalized, grads_after.residual}) {
    EXPECT(spoiled[4].isnan().all().item<bool>());
    EXPECT(!others(spoiled).isnan().any().item<bool>());
  }
  EXPECT(at::equal(others(after.y), others(before.y)));
  EXPECT(at::equal(others(grads_after.x), others(grads_before.x)));
}

TEST("bad arguments of dropout_add_norm are refused by name") {
  const Places places(2);
  const Inputs good(2, 8, at::kFloat);
  const auto with = [&](at::Tensor Inputs::* member, const at::Tensor& value) {
    Inputs bad = good;
    bad.*member = value;
    return forward(bad, places, no_dropout);
  };
  EXPECT_THROWS(with(&Inputs::x, at::ones({2, 8}, at::kDouble)), "x must be float32 or bfloat16");
  EXPECT_THROWS(with(&Inputs::x, at::ones({8, 2}).t()), "x must be contiguous");
  EXPECT_THROWS(with(&Inputs::residual, at::ones({2, 8}, at::kBFloat16)), "residual must be Float");
  EXPECT_THROWS(with(&Inputs::residual, at::ones({2, 9})), "residual is [2, 9], not [2, 8]");
  EXPECT_THROWS(with(&Inputs::bias, at::ones({9})), "bias has 9 elements, not 8");
  EXPECT_THROWS(with(&Inputs::weight, at::ones({8}, at::kBFloat16)), "weight must be Float");
  EXPECT_THROWS(with(&Inputs::norm_bias, at::ones({7})), "norm_bias has 7 elements, not 8");
  EXPECT_THROWS(forward(good, places, no_dropout, -1.0), "eps = -1");
  EXPECT_THROWS(forward(good, Places(1), no_dropout), "x has 2 tokens, but there are 1 rows");
  EXPECT_THROWS(forward(good, places, {.p = -0.1, .seed = 0, .layer = 0, .step = 0}), "p = -0.1");
  const Outputs out = forward(good, places, no_dropout);
  const at::Tensor grad_y = at::ones({2, 8});
  EXPECT_THROWS(backward(at::ones({2, 7}), out, good.weight, places, no_dropout), "grad_y is [2, 7], not [2, 8]");
  EXPECT_THROWS(backward(grad_y, {out.y, out.normalized, at::ones({3})}, good.weight, places, no_dropout),
                "rstd has 3 elements, not 2");
  EXPECT_THROWS(backward(grad_y, out, at::ones({9}), places, no_dropout), "weight has 9 elements, not 8");
}
