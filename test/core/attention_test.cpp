#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>

#include <limits>
#include <string>

#include "core/operators.h"
#include "expect.h"
#include "kernels/instruction_set.h"
#include "reference.h"

using reference::Dropout;
using reference::ints;
using reference::relative_error;
using steadytune::Site;
namespace operators = steadytune::operators;

namespace {

struct Batch {
  std::vector<int32_t> lengths;
  int64_t heads;
  int64_t head_size;
  bool causal = false;
  Site site = Site::attention_probabilities;

  std::vector<int32_t> numbers() const {
    std::vector<int32_t> result;
    for (size_t row = 0; row < lengths.size(); ++row) {
      result.push_back(static_cast<int32_t>(1000 + 37 * row));
    }
    return result;
  }
  int64_t tokens() const { return reference::offsets(lengths).back(); }
};

std::tuple<at::Tensor, at::Tensor> apply(const Batch& batch, const at::Tensor& qkv, const Dropout& dropout) {
  return operators::packed_attention(qkv, ints(reference::offsets(batch.lengths)), ints(batch.numbers()), batch.heads,
                                     batch.causal, dropout.p, dropout.seed, dropout.layer,
                                     static_cast<int64_t>(batch.site), dropout.step);
}

/// Output and gradient of <output, weights>.
std::pair<at::Tensor, at::Tensor> apply_with_gradient(const Batch& batch, const at::Tensor& qkv,
                                                      const at::Tensor& weights, const Dropout& dropout) {
  at::Tensor leaf = qkv.detach().clone().requires_grad_(true);
  const at::Tensor output = std::get<0>(apply(batch, leaf, dropout));
  output.backward(weights);
  return {output.detach(), leaf.grad()};
}

/// Compares output, logsumexp and the three gradients with the reference in float64 on the same (rounded) inputs.
void compare(const Batch& batch, at::ScalarType dtype, double p) {
  const Dropout dropout{.p = p, .seed = 11, .layer = 3, .step = 17};
  const int64_t hidden = batch.heads * batch.head_size;
  // Scores of a few units, as in a trained model.
  const at::Tensor qkv = (reference::noise({batch.tokens(), 3 * hidden}, hidden) * 2.5).to(dtype);
  const at::Tensor weights = reference::noise({batch.tokens(), hidden}, hidden + 1).to(dtype);
  const auto [output, grad] = apply_with_gradient(batch, qkv, weights, dropout);

  at::Tensor leaf = qkv.to(at::kDouble).requires_grad_(true);
  const at::Tensor expected =
      reference::attention(leaf, batch.lengths, batch.numbers(), batch.heads, batch.causal, dropout, batch.site);
  expected.backward(weights.to(at::kDouble));

  // bfloat16 rounds by up to 2^-9: once, what comes out, and where pairs are multiplied the weights before as well.
  // Those of many keys average out; in rows of one or two tokens they add up.
  const bool pairs = std::string(steadytune::kernels::instruction_set()) == "avx512_bf16";
  const double limit = dtype == at::kFloat ? 2e-6 : pairs ? 0x1p-8 : 2.5e-3;
  EXPECT(output.scalar_type() == dtype && grad.scalar_type() == dtype);
  EXPECT_AT_MOST(relative_error(output, expected), limit);
  for (int part = 0; part < 3; ++part) {
    const at::Tensor actual_part = grad.slice(1, part * hidden, (part + 1) * hidden);
    const at::Tensor expected_part = leaf.grad().slice(1, part * hidden, (part + 1) * hidden);
    // One token attends to itself alone: query and key have no gradient, and rounding is all there is.
    if (expected_part.norm().item<double>() < 1e-9) {
      EXPECT_AT_MOST(actual_part.norm().item<double>(), 1e-5);
    } else {
      EXPECT_AT_MOST(relative_error(actual_part, expected_part), limit);
    }
  }
}

}  // namespace

TEST("attention agrees with a plain reference in float64 at every length, both ways, in both dtypes") {
  for (const int32_t length : {1, 2, 7, 8, 15, 16, 17, 33, 64, 65, 128, 129, 512, 700}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const double p : {0.0, 0.1}) {
        try {
          compare({.lengths = {length}, .heads = 2, .head_size = 32}, dtype, p);
        } catch (const std::exception& error) {
          expect::fail(__FILE__, __LINE__, "length ", length, " ", toString(dtype), " p ", p, ": ", error.what());
        }
      }
    }
  }
}

TEST("attention takes heads of any size") {
  for (const int64_t head_size : {1, 4, 5, 8, 16, 24, 31, 32, 48, 64, 80, 96, 128}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      // Rounded gradients of scores no longer sum to zero, of which a single column makes too much.
      if (dtype == at::kBFloat16 && head_size == 1) continue;
      try {
        compare({.lengths = {5, 40}, .heads = 3, .head_size = head_size}, dtype, 0.1);
      } catch (const std::exception& error) {
        expect::fail(__FILE__, __LINE__, "head size ", head_size, " ", toString(dtype), ": ", error.what());
      }
    }
  }
}

TEST("rows of mixed lengths keep to themselves, with one much longer than the others and empty ones between") {
  const Batch batch{.lengths = {3, 512, 1, 0, 64, 7, 0, 33, 2, 128}, .heads = 4, .head_size = 16};
  compare(batch, at::kFloat, 0.1);
  compare(batch, at::kBFloat16, 0.1);
  compare(batch, at::kFloat, 0.0);
}

TEST("a row beyond 512 tokens, longer than one forward task, is right") {
  compare({.lengths = {1100}, .heads = 1, .head_size = 8}, at::kFloat, 0.5);
}

TEST("gradients agree with finite differences of a scalar loop in float64") {
  const Batch batch{.lengths = {3, 5}, .heads = 2, .head_size = 3};
  const Dropout dropout{.p = 0.3, .seed = 5, .layer = 1, .step = 2};
  const int64_t hidden = 6;
  const at::Tensor qkv = reference::noise({8, 3 * hidden}, 1) * 1.5;
  const at::Tensor weights = reference::noise({8, hidden}, 2);
  const at::Tensor grad = apply_with_gradient(batch, qkv, weights, dropout).second;

  std::vector<at::Tensor> masks;
  for (size_t row = 0; row < batch.lengths.size(); ++row) {
    masks.push_back(
        reference::attention_mask(dropout, batch.site, batch.numbers()[row], batch.heads, batch.lengths[row]));
  }
  const auto loss = [&](const at::Tensor& inputs) {
    const auto x = inputs.accessor<double, 2>();
    const auto w = weights.accessor<float, 2>();
    double sum = 0.0;
    int64_t first = 0;
    for (size_t row = 0; row < batch.lengths.size(); ++row) {
      const auto mask = masks[row].accessor<double, 3>();
      for (int64_t head = 0; head < batch.heads; ++head) {
        const int64_t column = head * batch.head_size;
        for (int64_t query = 0; query < batch.lengths[row]; ++query) {
          std::vector<double> weight;
          double total = 0.0;
          for (int64_t key = 0; key < batch.lengths[row]; ++key) {
            double score = 0.0;
            for (int64_t i = 0; i < batch.head_size; ++i) {
              score += x[first + query][column + i] * x[first + key][hidden + column + i];
            }
            weight.push_back(std::exp(score / std::sqrt(static_cast<double>(batch.head_size))));
            total += weight.back();
          }
          for (int64_t key = 0; key < batch.lengths[row]; ++key) {
            for (int64_t i = 0; i < batch.head_size; ++i) {
              sum += weight[key] / total * mask[head][query][key] * x[first + key][2 * hidden + column + i] *
                     w[first + query][column + i];
            }
          }
        }
      }
      first += batch.lengths[row];
    }
    return sum;
  };

  at::Tensor numeric = at::empty({8, 3 * hidden}, at::kDouble);
  const at::Tensor point = qkv.to(at::kDouble);
  constexpr double h = 1e-5;
  for (int64_t token = 0; token < 8; ++token) {
    for (int64_t column = 0; column < 3 * hidden; ++column) {
      at::Tensor above = point.clone();
      above[token][column] += h;
      at::Tensor below = point.clone();
      below[token][column] -= h;
      numeric[token][column] = (loss(above) - loss(below)) / (2 * h);
    }
  }
  EXPECT_AT_MOST(relative_error(grad, numeric), 1e-6);
}

TEST("under a causal mask no query sees a later key, both ways, in both dtypes") {
  for (const int32_t length : {1, 2, 16, 17, 64, 65, 300, 700}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const double p : {0.0, 0.1}) {
        try {
          compare({.lengths = {length}, .heads = 2, .head_size = 32, .causal = true}, dtype, p);
        } catch (const std::exception& error) {
          expect::fail(__FILE__, __LINE__, "length ", length, " ", toString(dtype), " p ", p, ": ", error.what());
        }
      }
    }
  }
  compare({.lengths = {3, 0, 90, 1, 33}, .heads = 3, .head_size = 5, .causal = true}, at::kFloat, 0.3);
}

TEST("under a causal mask the first tokens of a row do not depend on those behind them, bit for bit") {
  const Dropout dropout{.p = 0.2, .seed = 1, .layer = 2, .step = 3};
  const at::Tensor qkv = reference::noise({300, 96}, 1);
  const Batch whole{.lengths = {300}, .heads = 2, .head_size = 16, .causal = true};
  const at::Tensor output = std::get<0>(apply(whole, qkv, dropout));
  for (const int32_t length : {1, 17, 64, 100, 299}) {
    const Batch prefix{.lengths = {length}, .heads = 2, .head_size = 16, .causal = true};
    const at::Tensor alone = std::get<0>(apply(prefix, qkv.slice(0, 0, length), dropout));
    EXPECT(reference::same_bits(alone, output.slice(0, 0, length)), length, " tokens");
  }
}

TEST("each site of a layer has masks of its own") {
  const Dropout dropout{.p = 0.5, .seed = 1, .layer = 2, .step = 3};
  const at::Tensor qkv = reference::noise({64, 96}, 1);
  const Batch self{.lengths = {64}, .heads = 2, .head_size = 16};
  const Batch cross{.lengths = {64}, .heads = 2, .head_size = 16, .site = Site::cross_attention_probabilities};
  compare(cross, at::kFloat, 0.5);
  EXPECT(relative_error(std::get<0>(apply(self, qkv, dropout)), std::get<0>(apply(cross, qkv, dropout))) > 0.3);
}

TEST("cross attention is the attention of the same query, key and value in one matrix, bit for bit, both ways") {
  const Dropout dropout{.p = 0.2, .seed = 1, .layer = 2, .step = 3};
  const Batch batch{
      .lengths = {300, 1, 0, 65}, .heads = 3, .head_size = 20, .site = Site::cross_attention_probabilities};
  const int64_t hidden = 60;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor qkv = reference::noise({batch.tokens(), 3 * hidden}, 1).to(dtype);
    const at::Tensor weights = reference::noise({batch.tokens(), hidden}, 2).to(dtype);
    const auto [output, grad] = apply_with_gradient(batch, qkv, weights, dropout);
    const at::Tensor query = qkv.slice(1, 0, hidden).contiguous();
    const at::Tensor key_value = qkv.slice(1, hidden).contiguous();
    const at::Tensor offsets = ints(reference::offsets(batch.lengths));
    const at::Tensor numbers = ints(batch.numbers());
    const auto number = static_cast<int64_t>(batch.site);
    const auto [crossed, logsumexp] = operators::cross_attention(query, key_value, offsets, numbers, 3, dropout.p,
                                                                 dropout.seed, dropout.layer, number, dropout.step);
    const auto [grad_query, grad_key_value] =
        operators::cross_attention_backward(weights, query, key_value, logsumexp, offsets, numbers, 3, dropout.p,
                                            dropout.seed, dropout.layer, number, dropout.step);
    EXPECT(reference::same_bits(crossed, output));
    EXPECT(reference::same_bits(grad_query, grad.slice(1, 0, hidden)));
    EXPECT(reference::same_bits(grad_key_value, grad.slice(1, hidden)));
    EXPECT_THROWS(operators::cross_attention(query.slice(0, 1), key_value, offsets, numbers, 3, 0, 0, 0, 1, 0),
                  "365 queries meet 366 keys");
  }
}

TEST("logsumexp is the logarithm of the softmax's denominator, [heads, T]") {
  const Batch batch{.lengths = {4, 9}, .heads = 2, .head_size = 8};
  const at::Tensor qkv = reference::noise({13, 48}, 1);
  const at::Tensor logsumexp = std::get<1>(apply(batch, qkv, {.p = 0.1, .seed = 0, .layer = 0, .step = 0}));
  const at::Tensor split = qkv.slice(0, 4, 13).view({9, 3, 2, 8}).permute({1, 2, 0, 3}).to(at::kDouble);
  const at::Tensor expected = at::logsumexp(at::matmul(split[0], split[1].transpose(1, 2)) / std::sqrt(8.0), -1);
  EXPECT_AT_MOST(relative_error(logsumexp.slice(1, 4, 13), expected), 2e-6);
}

TEST("attention does not depend on the number of threads, bit for bit") {
  Batch batch{.lengths = {300, 5, 64, 70, 1, 129, 33, 64}, .heads = 3, .head_size = 32};
  const at::Tensor qkv = reference::noise({batch.tokens(), 288}, 1);
  const at::Tensor weights = reference::noise({batch.tokens(), 96}, 2);
  const Dropout dropout{.p = 0.1, .seed = 1, .layer = 2, .step = 3};
  for (const bool causal : {false, true}) {
    batch.causal = causal;
    const reference::Threads one(1);
    const auto [output, grad] = apply_with_gradient(batch, qkv, weights, dropout);
    for (const int threads : {2, 3, 8}) {
      const reference::Threads many(threads);
      const auto [other_output, other_grad] = apply_with_gradient(batch, qkv, weights, dropout);
      EXPECT(reference::same_bits(other_output, output), threads, " threads");
      EXPECT(reference::same_bits(other_grad, grad), threads, " threads");
    }
  }
}

TEST("a row's attention does not depend on its place in the batch or on the other rows, bit for bit") {
  const at::Tensor qkv = reference::noise({120, 96}, 1);
  const at::Tensor weights = reference::noise({120, 32}, 2);
  const std::vector<int32_t> lengths{70, 17, 33};
  const std::vector<int32_t> numbers{4, 9, 2};
  const auto run = [&](const std::vector<int>& order) {
    std::vector<at::Tensor> inputs;
    std::vector<at::Tensor> grads;
    std::vector<int32_t> order_lengths;
    std::vector<int32_t> order_numbers;
    const std::vector<int32_t> begin = reference::offsets(lengths);
    for (const int row : order) {
      inputs.push_back(qkv.slice(0, begin[row], begin[row + 1]));
      grads.push_back(weights.slice(0, begin[row], begin[row + 1]));
      order_lengths.push_back(lengths[row]);
      order_numbers.push_back(numbers[row]);
    }
    at::Tensor leaf = at::cat(inputs).requires_grad_(true);
    const auto [output, logsumexp] = operators::packed_attention(leaf, ints(reference::offsets(order_lengths)),
                                                                 ints(order_numbers), 2, false, 0.2, 1, 2, 1, 3);
    output.backward(at::cat(grads));
    return std::pair{output.detach(), leaf.grad()};
  };
  const auto [output, grad] = run({0, 1, 2});
  const auto [moved_output, moved_grad] = run({2, 0, 1});
  const at::Tensor order = at::cat({at::arange(87, 120), at::arange(0, 87)});
  EXPECT(reference::same_bits(moved_output, output.index({order})));
  EXPECT(reference::same_bits(moved_grad, grad.index({order})));
  const auto [alone_output, alone_grad] = run({1});
  EXPECT(reference::same_bits(alone_output, output.slice(0, 70, 87)));
  EXPECT(reference::same_bits(alone_grad, grad.slice(0, 70, 87)));
}

TEST("large scores neither overflow nor lose the maximum") {
  const Batch batch{.lengths = {20}, .heads = 1, .head_size = 16};
  const at::Tensor qkv = reference::noise({20, 48}, 1) * 60;
  at::Tensor leaf = qkv.to(at::kDouble);
  const Dropout none{.p = 0.0, .seed = 0, .layer = 0, .step = 0};
  const at::Tensor expected = reference::attention(leaf, batch.lengths, batch.numbers(), 1, false, none, batch.site);
  EXPECT_AT_MOST(relative_error(std::get<0>(apply(batch, qkv, none)), expected), 1e-4);
}

TEST("a NaN in one key makes that row's head NaN, its gradient too, and touches no other row") {
  const Batch batch{.lengths = {10, 10}, .heads = 2, .head_size = 8};
  at::Tensor qkv = reference::noise({20, 48}, 1);
  qkv[3][20] = std::numeric_limits<float>::quiet_NaN();
  for (const double p : {0.0, 0.1}) {
    const auto [output, grad] =
        apply_with_gradient(batch, qkv, at::ones({20, 16}), {.p = p, .seed = 0, .layer = 0, .step = 0});
    EXPECT(output.slice(0, 0, 10).slice(1, 0, 8).isnan().all().item<bool>());
    EXPECT(!output.slice(0, 0, 10).slice(1, 8, 16).isnan().any().item<bool>());
    EXPECT(!output.slice(0, 10, 20).isnan().any().item<bool>());
    EXPECT(grad.slice(0, 0, 10).slice(1, 0, 8).isnan().all().item<bool>());
    EXPECT(!grad.slice(0, 10, 20).isnan().any().item<bool>());
  }
}

TEST("a batch without tokens gives an empty output") {
  const auto [output, logsumexp] =
      operators::packed_attention(at::empty({0, 24}), ints({0, 0}), ints({1}), 2, false, 0.1, 0, 0, 1, 0);
  EXPECT(output.sizes() == at::IntArrayRef({0, 8}) && logsumexp.sizes() == at::IntArrayRef({2, 0}));
}

TEST("bad arguments of packed_attention are refused by name") {
  const at::Tensor qkv = at::zeros({4, 24});
  const auto call = [](const at::Tensor& x, const at::Tensor& offsets, const at::Tensor& numbers, int64_t heads) {
    return operators::packed_attention(x, offsets, numbers, heads, false, 0.1, 0, 0, 1, 0);
  };
  EXPECT_THROWS(call(qkv, ints({0, 4}), ints({0}), 3), "not query, key and value of 3 heads");
  EXPECT_THROWS(call(qkv, ints({0, 4}), ints({0}), 0), "heads = 0");
  EXPECT_THROWS(call(qkv, ints({0, 3}), ints({0}), 2), "from 0 to 3, not from 0 to the 4 tokens");
  EXPECT_THROWS(call(qkv, ints({0, 5, 4}), ints({0, 1}), 2), "row 1 has length -1");
  EXPECT_THROWS(call(qkv, ints({0, 4}), ints({0, 1}), 2), "2 rows need 3 offsets");
  EXPECT_THROWS(call(qkv, ints({0, 4}).to(at::kLong), ints({0}), 2), "row_offsets must be Int");
  EXPECT_THROWS(call(qkv.to(at::kHalf), ints({0, 4}), ints({0}), 2), "qkv must be float32 or bfloat16");
}
