#include <cmath>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "expect.h"
#include "fused.h"
#include "kernels/activation.h"

using fused::no_dropout;
using fused::Places;
using fused::some_dropout;
using reference::Dropout;
using reference::noise;
using reference::relative_error;
using steadytune::Activation;
using steadytune::Site;
namespace operators = steadytune::operators;

namespace {

constexpr auto site = static_cast<int64_t>(Site::classifier);

struct Head {
  at::Tensor x;
  at::Tensor dense;
  at::Tensor dense_bias;
  at::Tensor output;
  at::Tensor output_bias;

  Head(int64_t rows, int64_t hidden, int64_t outputs)
      : x(noise({rows, hidden}, 1)),
        dense(noise({hidden, hidden}, 2) * std::sqrt(6.0 / static_cast<double>(hidden))),
        dense_bias(noise({hidden}, 3)),
        output(noise({outputs, hidden}, 4) * std::sqrt(20.0 / static_cast<double>(hidden))),
        output_bias(noise({outputs}, 5)) {}
};

/// Everything that a head computes, and every gradient of weight times its loss.
struct Results {
  at::Tensor pooled;
  at::Tensor logits;
  at::Tensor loss;
  Head gradients;
};

Results apply(const Head& in, const std::optional<at::Tensor>& labels, Activation activation, const Places& places,
              const Dropout& dropout, float weight = 1.0f) {
  const auto code = static_cast<int64_t>(activation);
  const auto [widened, pooled, logits, loss, grad_logits] =
      operators::head_loss(in.x, in.dense, in.dense_bias, in.output, in.output_bias, labels, code, places.rows,
                           places.positions, dropout.p, dropout.seed, dropout.layer, site, dropout.step);
  Head gradients = in;
  const auto [scaled, grad_widened, grad_dense_bias, grad_output_bias] = operators::head_loss_backward(
      at::scalar_tensor(weight), grad_logits, widened, in.dense_bias, in.output, code, places.rows, places.positions,
      dropout.p, dropout.seed, dropout.layer, site, dropout.step);
  gradients.x = at::mm(grad_widened, in.dense);
  gradients.dense = at::mm(grad_widened.t(), in.x);
  gradients.dense_bias = grad_dense_bias;
  gradients.output = at::mm(scaled.t(), pooled);
  gradients.output_bias = grad_output_bias;
  return {pooled, logits, loss, gradients};
}

/// The same in float64 by ATen and its autograd.
Results exactly(const Head& in, const at::Tensor& labels, Activation activation, const Places& places,
                const Dropout& dropout, double weight) {
  Head exact = in;
  for (at::Tensor* leaf : {&exact.x, &exact.dense, &exact.dense_bias, &exact.output, &exact.output_bias}) {
    *leaf = leaf->to(at::kDouble).requires_grad_(true);
  }
  const at::Tensor sum = at::linear(exact.x, exact.dense, exact.dense_bias);
  const at::Tensor activated = activation == Activation::tanh   ? at::tanh(sum)
                               : activation == Activation::relu ? at::relu(sum)
                                                                : at::gelu(sum);
  const at::Tensor pooled = activated * fused::mask(places, in.dense.size(0), dropout, Site::classifier);
  const at::Tensor logits = at::linear(pooled, exact.output, exact.output_bias);
  const at::Tensor loss = labels.scalar_type() == at::kLong
                              ? at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum)
                              : at::mse_loss(logits.squeeze(1), labels.to(at::kDouble), at::Reduction::Sum);
  (loss * weight).backward();
  Head gradients = in;
  gradients.x = exact.x.grad();
  gradients.dense = exact.dense.grad();
  gradients.dense_bias = exact.dense_bias.grad();
  gradients.output = exact.output.grad();
  gradients.output_bias = exact.output_bias.grad();
  return {pooled.detach(), logits.detach(), loss.detach(), gradients};
}

at::Tensor classes(int64_t rows, int64_t outputs) { return at::arange(rows, at::kLong) * 7 % outputs; }

at::Tensor scores(int64_t rows) { return noise({rows}, 6) * 5; }

/// The loss of these logits under these labels, and its gradient, with nothing in front of them.
std::tuple<double, at::Tensor> loss_of(const at::Tensor& logits, const at::Tensor& labels) {
  const int64_t rows = logits.size(0);
  const int64_t outputs = logits.size(1);
  const Places places(rows);
  // Through identities, which ReLU keeps.
  const auto [widened, pooled, computed, loss, grad_logits] = operators::head_loss(
      at::eye(rows), at::eye(rows), at::zeros({rows}), logits.t().contiguous(), at::zeros({outputs}), labels,
      static_cast<int64_t>(Activation::relu), places.rows, places.positions, 0, 0, 0, site, 0);
  return {loss.item<double>(), grad_logits};
}

}  // namespace

TEST("a head and its loss equal ATen in float64, with gradients by autograd, for every activation and both losses") {
  struct Shape {
    int64_t rows;
    int64_t hidden;
    int64_t outputs;
  };
  const std::vector<Shape> shapes{{1, 1, 1}, {1, 20, 2}, {5, 7, 3}, {32, 384, 2}, {33, 100, 150}, {200, 64, 1}};
  for (const auto& [rows, hidden, outputs] : shapes) {
    const Places places(rows);
    const Head in(rows, hidden, outputs);
    std::vector<at::Tensor> labels{classes(rows, outputs)};
    if (outputs == 1) labels.push_back(scores(rows));
    for (const at::Tensor& given : labels) {
      for (const Activation activation : {Activation::tanh, Activation::gelu, Activation::relu}) {
        for (const Dropout& dropout : {no_dropout, some_dropout}) {
          constexpr double weight = 1.0 / 64;
          const Results expected = exactly(in, given, activation, places, dropout, weight);
          const Results actual = apply(in, given, activation, places, dropout, weight);
          EXPECT_AT_MOST(relative_error(actual.pooled, expected.pooled), 2e-6);
          EXPECT(at::equal(actual.pooled.eq(0), expected.pooled.eq(0)));
          EXPECT_AT_MOST(relative_error(actual.logits, expected.logits), 2e-6);
          EXPECT_AT_MOST(std::abs(actual.loss.item<double>() - expected.loss.item<double>()),
                         3e-6 * (expected.loss.item<double>() + 1e-3));
          const auto close = [&](const at::Tensor& ours, const at::Tensor& theirs) {
            EXPECT_EQUAL(ours.sizes(), theirs.sizes());
            EXPECT_AT_MOST(relative_error(ours, theirs), 1e-5);
          };
          close(actual.gradients.output_bias, expected.gradients.output_bias);
          close(actual.gradients.output, expected.gradients.output);
          close(actual.gradients.dense_bias, expected.gradients.dense_bias);
          close(actual.gradients.dense, expected.gradients.dense);
          close(actual.gradients.x, expected.gradients.x);
        }
      }
    }
  }
}

TEST("gradients of the logits are the slopes of the loss") {
  const at::Tensor logits = noise({6, 5}, 1) * 4;
  for (const at::Tensor& labels : {classes(6, 5), scores(6)}) {
    const at::Tensor at_hand = labels.scalar_type() == at::kLong ? logits : logits.narrow(1, 0, 1).contiguous();
    const at::Tensor gradient = std::get<1>(loss_of(at_hand, labels));
    for (int64_t i = 0; i < at_hand.numel(); ++i) {
      constexpr double step = 1.0 / 64;
      const auto moved = [&](double by) {
        at::Tensor other = at_hand.clone();
        other.view(-1)[i] += by;
        return std::get<0>(loss_of(other, labels));
      };
      EXPECT_AT_MOST(std::abs(gradient.view(-1)[i].item<double>() - (moved(step) - moved(-step)) / (2 * step)), 1e-3);
    }
  }
}

TEST("the loss of a row that is nearly certain keeps its digits, and huge logits do not overflow") {
  const auto [certain, grad] = loss_of(at::tensor({20.0f, 0.0f}).view({1, 2}), at::zeros({1}, at::kLong));
  EXPECT_AT_MOST(std::abs(certain - std::log1p(std::exp(-20.0))), 1e-6 * certain);
  EXPECT_AT_MOST(std::abs(grad[0][0].item<double>() + grad[0][1].item<double>()), 1e-15);
  EXPECT(grad[0][0].item<double>() < 0);
  const auto [wrong, steep] = loss_of(at::tensor({3e38f, 0.0f}).view({1, 2}), at::ones({1}, at::kLong));
  EXPECT_AT_MOST(std::abs(wrong - 3e38f), 1e32);
  EXPECT(at::equal(steep, at::tensor({1.0f, -1.0f}).view({1, 2})));
}

TEST("a loss over logits that are NaN or infinite is not finite") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const int64_t place : {0, 1, 2}) {
      for (const int64_t label : {0, 1, 2}) {
        Head in(4, 8, 3);
        in.output_bias[place] = bad;
        const at::Tensor labels = at::full({4}, label, at::kLong);
        const Results results = apply(in, labels, Activation::tanh, Places(4), no_dropout);
        EXPECT(!std::isfinite(results.loss.item<double>()));
      }
    }
    Head in(4, 8, 1);
    in.output_bias[0] = bad;
    EXPECT(!std::isfinite(apply(in, scores(4), Activation::tanh, Places(4), no_dropout).loss.item<double>()));
  }
}

TEST("without labels a head has no loss and no gradient, and the same logits") {
  const Head in(9, 20, 3);
  const Results with = apply(in, classes(9, 3), Activation::gelu, Places(9), some_dropout);
  const Results without = apply(in, std::nullopt, Activation::gelu, Places(9), some_dropout);
  EXPECT(reference::same_bits(with.logits, without.logits) && reference::same_bits(with.pooled, without.pooled));
  EXPECT_EQUAL(without.loss.item<double>(), 0.0);
  EXPECT(with.loss.item<double>() > 0 && without.gradients.dense.eq(0).all().item<bool>());
}

TEST("a loss and its gradients do not depend on the number of threads, bit for bit") {
  const at::Tensor logits = noise({100, 600}, 1) * 3;
  const at::Tensor labels = classes(100, 600);
  const reference::Threads one(1);
  const auto expected = loss_of(logits, labels);
  const reference::Threads many(3);
  const auto actual = loss_of(logits, labels);
  EXPECT_EQUAL(std::get<0>(actual), std::get<0>(expected));
  EXPECT(reference::same_bits(std::get<1>(actual), std::get<1>(expected)));
}

TEST("bad arguments of a head are refused by name") {
  const Head in(2, 8, 3);
  const auto run = [&](const auto& change, const at::Tensor& labels) {
    Head changed = in;
    change(changed);
    apply(changed, labels, Activation::tanh, Places(2), no_dropout);
  };
  const auto refused = [&](const auto& change, const char* words) { EXPECT_THROWS(run(change, classes(2, 3)), words); };
  refused([](Head& head) { head.x = head.x.to(at::kBFloat16); }, "x must be Float");
  refused([](Head& head) { head.x = head.x.t().contiguous(); }, "dense has 8 columns, not 2");
  refused([](Head& head) { head.dense = head.dense.t(); }, "dense must be contiguous");
  refused([](Head& head) { head.dense_bias = at::zeros({7}); }, "bias has 7 elements, not 8");
  refused([](Head& head) { head.output = at::zeros({3, 7}); }, "output has 7 columns, not 8");
  refused([](Head& head) { head.output_bias = at::zeros({2}); }, "output_bias has 2 elements, not 3");
  const auto same = [](Head&) {};
  EXPECT_THROWS(run(same, classes(3, 3)), "2 rows have 3 labels");
  EXPECT_THROWS(run(same, at::tensor({int64_t{0}, int64_t{3}})), "labels holds 3, outside 0 .. 2");
  EXPECT_THROWS(run(same, scores(2)), "scores are for one output, not for 3");
  EXPECT_THROWS(run(same, at::zeros({2}, at::kInt)), "labels must be Float");
}
