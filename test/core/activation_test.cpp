#include "kernels/activation.h"

#include <limits>

#include "expect.h"
#include "fused.h"

using fused::no_dropout;
using fused::Places;
using fused::some_dropout;
using reference::Dropout;
using reference::relative_error;
using steadytune::Activation;
using steadytune::Site;
namespace operators = steadytune::operators;

namespace {

constexpr auto activations = {Activation::gelu, Activation::gelu_tanh, Activation::relu, Activation::tanh};

at::Tensor forward(const at::Tensor& x, const at::Tensor& bias, Activation activation, const Places& places,
                   const Dropout& dropout) {
  return operators::bias_activation(x, bias, static_cast<int64_t>(activation), places.rows, places.positions, dropout.p,
                                    dropout.seed, dropout.layer, static_cast<int64_t>(Site::ffn_activation),
                                    dropout.step);
}

std::tuple<at::Tensor, at::Tensor> backward(const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& bias,
                                            Activation activation, const Places& places, const Dropout& dropout) {
  return operators::bias_activation_backward(grad_y, x, bias, static_cast<int64_t>(activation), places.rows,
                                             places.positions, dropout.p, dropout.seed, dropout.layer,
                                             static_cast<int64_t>(Site::ffn_activation), dropout.step);
}

/// The same in float64 by ATen.
at::Tensor plain(const at::Tensor& sum, Activation activation) {
  if (activation == Activation::relu) return at::relu(sum);
  if (activation == Activation::tanh) return at::tanh(sum);
  return at::gelu(sum, activation == Activation::gelu_tanh ? "tanh" : "none");
}

/// Every element of `x` [count] by itself, without bias and dropout.
at::Tensor alone(const at::Tensor& x, Activation activation) {
  return forward(x.view({1, -1}), at::zeros({x.numel()}), activation, Places(1), no_dropout).view({-1});
}

at::Tensor derivative(const at::Tensor& x, Activation activation) {
  const at::Tensor ones = at::ones({1, x.numel()});
  return std::get<0>(backward(ones, x.view({1, -1}), at::zeros({x.numel()}), activation, Places(1), no_dropout))
      .view({-1});
}

}  // namespace

TEST("bias, activation and dropout equal ATen in float64, with gradients by autograd, for every shape and dtype") {
  for (const auto& [tokens, columns] : fused::shapes()) {
    const Places places(tokens);
    const at::Tensor bias = reference::noise({columns}, 1);
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor x = (reference::noise({tokens, columns}, 2) * 4).to(dtype);
      const at::Tensor grad_y = reference::noise({tokens, columns}, 3).to(dtype);
      for (const Activation activation : activations) {
        for (const Dropout& dropout : {no_dropout, some_dropout}) {
          at::Tensor exact_x = x.to(at::kDouble).requires_grad_(true);
          at::Tensor exact_bias = bias.to(at::kDouble).requires_grad_(true);
          const at::Tensor mask = fused::mask(places, columns, dropout, Site::ffn_activation);
          const at::Tensor expected = plain(exact_x + exact_bias, activation) * mask;
          expected.backward(grad_y.to(at::kDouble));
          const at::Tensor y = forward(x, bias, activation, places, dropout);
          const auto [grad_x, grad_bias] = backward(grad_y, x, bias, activation, places, dropout);
          EXPECT(y.scalar_type() == dtype && grad_x.scalar_type() == dtype && grad_bias.scalar_type() == at::kFloat);
          EXPECT_EQUAL(grad_bias.numel(), columns);
          EXPECT_AT_MOST(relative_error(y, expected), fused::tolerance(dtype));
          EXPECT_AT_MOST(relative_error(grad_x, exact_x.grad()), fused::tolerance(dtype));
          EXPECT_AT_MOST(fused::sum_error(grad_bias, exact_bias.grad(), exact_x.grad()), 1e-6);
          EXPECT(at::equal(y.ne(0).logical_and(mask.eq(0)), at::zeros_like(y, at::kBool)));
        }
      }
    }
  }
}

TEST("each activation and its derivative keep their accuracy from -12 to 12, far tails included") {
  const at::Tensor x = at::linspace(-12.0, 12.0, 480001, at::kFloat);
  for (const Activation activation : activations) {
    at::Tensor exact = x.to(at::kDouble).requires_grad_(true);
    // ATen's own float64 loses the left tail to 1 + erf(x); erfc keeps it.
    const at::Tensor expected =
        activation == Activation::gelu ? exact * at::erfc(-exact / std::sqrt(2.0)) / 2 : plain(exact, activation);
    expected.sum().backward();
    const at::Tensor error = (alone(x, activation).to(at::kDouble) - expected).detach().abs();
    const at::Tensor slope_error = (derivative(x, activation).to(at::kDouble) - exact.grad()).abs();
    EXPECT_AT_MOST(error.max().item<double>(), 6e-7);
    EXPECT_AT_MOST(slope_error.max().item<double>(), 3e-7);
    if (activation == Activation::gelu) {
      EXPECT_AT_MOST((error / expected.detach().abs().clamp_min(1e-30)).max().item<double>(), 1e-5);
      const at::Tensor near = x.abs().lt(3.0);
      EXPECT_AT_MOST((error / expected.detach().abs().clamp_min(1e-30)).index({near}).max().item<double>(), 1e-6);
    }
  }
}

TEST("tanh and its derivative keep their relative accuracy, near zero and where tanh is nearly 1") {
  const at::Tensor sizes = at::pow(10.0, at::linspace(-8.0, 1.5, 20001, at::kDouble)).to(at::kFloat);
  const at::Tensor x = at::cat({sizes, -sizes});
  const at::Tensor exact = x.to(at::kDouble);
  const at::Tensor slope = at::cosh(exact).pow(-2);
  const auto error = [](const at::Tensor& actual, const at::Tensor& expected) {
    return ((actual.to(at::kDouble) - expected) / expected).abs().max().item<double>();
  };
  EXPECT_AT_MOST(error(alone(x, Activation::tanh), at::tanh(exact)), 3e-7);
  // exp(-2 |x|) has the rounding of 2 |x| / ln 2 in its exponent, which is up to 91 here.
  EXPECT_AT_MOST(error(derivative(x, Activation::tanh), slope), 1e-5);
}

TEST("derivatives agree with finite differences of the operator's own forward") {
  const at::Tensor x = at::linspace(-4.0, 4.0, 401, at::kFloat) + 1e-3;
  for (const Activation activation : activations) {
    const double h = 1.0 / 64;
    const at::Tensor difference =
        (alone(x + h, activation).to(at::kDouble) - alone(x - h, activation).to(at::kDouble)) / (2 * h);
    const at::Tensor away = x.abs().gt(2 * h);
    EXPECT_AT_MOST((derivative(x, activation).to(at::kDouble) - difference).abs().index({away}).max().item<double>(),
                   1e-4);
  }
}

TEST("infinities and huge numbers have the limits of the function; NaN stays NaN") {
  constexpr float inf = std::numeric_limits<float>::infinity();
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Activation activation : activations) {
    for (const float huge : {40.0f, 1e20f, 3e38f, inf}) {
      const at::Tensor x = at::tensor({huge, -huge, nan});
      const at::Tensor y = alone(x, activation);
      const bool bounded = activation == Activation::tanh;
      EXPECT_EQUAL(y[0].item<float>(), bounded ? 1.0f : huge);
      EXPECT_AT_MOST(std::abs(y[1].item<double>() + (bounded ? 1 : 0)), 1e-20);
      EXPECT(std::isnan(y[2].item<float>()));
      const at::Tensor slope = derivative(x, activation);
      EXPECT_AT_MOST(std::abs(slope[0].item<double>() - (bounded ? 0 : 1)), 1e-19);
      EXPECT_AT_MOST(std::abs(slope[1].item<double>()), 1e-19);
    }
    EXPECT_EQUAL(alone(at::zeros({1}), activation).item<float>(), 0.0f);
  }
  EXPECT(std::isnan(derivative(at::tensor({nan}), Activation::gelu).item<float>()));
  EXPECT(std::isnan(derivative(at::tensor({nan}), Activation::gelu_tanh).item<float>()));
  EXPECT(std::isnan(derivative(at::tensor({nan}), Activation::tanh).item<float>()));
}

TEST("bias and activation do not depend on the number of threads, bit for bit") {
  const Places places(257);
  const at::Tensor bias = reference::noise({1000}, 1);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = reference::noise({257, 1000}, 2).to(dtype);
    const at::Tensor grad_y = reference::noise({257, 1000}, 3).to(dtype);
    const reference::Threads one(1);
    const at::Tensor y = forward(x, bias, Activation::gelu, places, some_dropout);
    const auto [grad_x, grad_bias] = backward(grad_y, x, bias, Activation::gelu, places, some_dropout);
    for (const int threads : {2, 3, 8}) {
      const reference::Threads many(threads);
      EXPECT(reference::same_bits(forward(x, bias, Activation::gelu, places, some_dropout), y));
      const auto [other_x, other_bias] = backward(grad_y, x, bias, Activation::gelu, places, some_dropout);
      EXPECT(reference::same_bits(other_x, grad_x) && reference::same_bits(other_bias, grad_bias));
    }
  }
}

TEST("a NaN changes its own element alone") {
  const Places places(9);
  const at::Tensor bias = reference::noise({100}, 1);
  at::Tensor x = reference::noise({9, 100}, 2);
  const at::Tensor grad_y = reference::noise({9, 100}, 3);
  const at::Tensor before = forward(x, bias, Activation::gelu, places, some_dropout);
  const at::Tensor grad_before = std::get<0>(backward(grad_y, x, bias, Activation::gelu, places, some_dropout));
  x[4][37] = std::numeric_limits<float>::quiet_NaN();
  at::Tensor elsewhere = at::ones({9, 100}, at::kBool);
  elsewhere[4][37] = false;
  const at::Tensor after = forward(x, bias, Activation::gelu, places, some_dropout);
  const auto [grad_after, grad_bias] = backward(grad_y, x, bias, Activation::gelu, places, some_dropout);
  EXPECT(std::isnan(after[4][37].item<float>()) && std::isnan(grad_after[4][37].item<float>()));
  EXPECT(at::equal(after.index({elsewhere}), before.index({elsewhere})));
  EXPECT(at::equal(grad_after.index({elsewhere}), grad_before.index({elsewhere})));
  EXPECT_EQUAL(grad_bias.isnan().sum().item<int64_t>(), 1);
}

TEST("bad arguments of bias_activation are refused by name") {
  const Places places(2);
  const at::Tensor x = at::ones({2, 8});
  const at::Tensor bias = at::ones({8});
  const auto gelu = Activation::gelu;
  EXPECT_THROWS(forward(x.to(at::kDouble), bias, gelu, places, no_dropout), "x must be float32 or bfloat16");
  EXPECT_THROWS(forward(x.view({16}), bias, gelu, places, no_dropout), "x must have 2 dimensions");
  EXPECT_THROWS(forward(at::ones({8, 2}).t(), bias, gelu, places, no_dropout), "x must be contiguous");
  EXPECT_THROWS(forward(at::ones({2, 0}), at::ones({0}), gelu, places, no_dropout), "x has no columns");
  EXPECT_THROWS(forward(x, bias.to(at::kBFloat16), gelu, places, no_dropout), "bias must be Float");
  EXPECT_THROWS(forward(x, at::ones({7}), gelu, places, no_dropout), "bias has 7 elements, not 8");
  EXPECT_THROWS(forward(x, bias, static_cast<Activation>(4), places, no_dropout), "activation = 4");
  EXPECT_THROWS(forward(x, bias, static_cast<Activation>(-1), places, no_dropout), "activation = -1");
  EXPECT_THROWS(forward(x, bias, gelu, Places(3), no_dropout), "x has 2 tokens, but there are 3 rows");
  EXPECT_THROWS(forward(x, bias, gelu, places, {.p = 1.0, .seed = 0, .layer = 0, .step = 0}), "p = 1");
  EXPECT_THROWS(backward(x.to(at::kBFloat16), x, bias, gelu, places, no_dropout), "grad_y must be Float");
  EXPECT_THROWS(backward(at::ones({2, 7}), x, bias, gelu, places, no_dropout), "grad_y is [2, 7], not [2, 8]");
}
