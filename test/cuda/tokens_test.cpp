#include <array>
#include <optional>
#include <vector>

#include "../core/fused.h"
#include "kernels/activation.h"
#include "operators.h"

using fused::Places;
using kernels::difference;
using kernels::misaligned;
using kernels::same_zeros;
using kernels::tolerance;
using reference::noise;
using steadytune::Site;

namespace {

constexpr int64_t seed = 4000000000;
constexpr int64_t layer = 23;
constexpr int64_t step = 804;
constexpr auto site = static_cast<int64_t>(Site::ffn_output);

const std::vector<fused::Shape> shapes{{0, 384}, {1, 1}, {3, 7}, {17, 8}, {33, 312}, {16, 384}, {35, 768}, {5, 1031}};
const std::array<at::ScalarType, 2> dtypes{at::kFloat, at::kBFloat16};

}  // namespace

TEST("CUDA: dropout has the CPU's bits, in both dtypes and for any alignment") {
  for (const auto& [tokens, columns] : shapes) {
    const Places places(tokens);
    for (const at::ScalarType dtype : dtypes) {
      const at::Tensor x = noise({tokens, columns}, columns).to(dtype);
      const at::Tensor expected =
          kernels::dropout.cpu(x, places.rows, places.positions, 0.3, seed, layer, site, step, {});
      for (const at::Tensor& input : {x, misaligned(x)}) {
        const at::Tensor actual =
            kernels::dropout.cuda(input, places.rows, places.positions, 0.3, seed, layer, site, step, {});
        EXPECT(reference::same_bits(actual, expected), "tokens ", tokens, " columns ", columns, " ", dtype);
      }
    }
  }
}

TEST("CUDA: masks are drawn by what a counter adds, as on the CPU") {
  const Places places(9);
  const at::Tensor x = noise({9, 100}, 1);
  const at::Tensor counter = at::tensor({step - 4, int64_t{7}, seed - 5}, at::kLong);
  const at::Tensor expected = kernels::dropout.cpu(x, places.rows, places.positions, 0.3, seed, layer, site, step, {});
  const at::Tensor actual = kernels::dropout.cuda(x, places.rows, places.positions, 0.3, 5, layer, site, 4, counter);
  EXPECT(reference::same_bits(actual, expected));
}

TEST("CUDA: activations and their gradients agree with the CPU, with its masks") {
  for (const auto& [tokens, columns] : shapes) {
    const Places places(tokens);
    for (const at::ScalarType dtype : dtypes) {
      const at::Tensor x = (noise({tokens, columns}, 1) * 6).to(dtype);
      const at::Tensor grad_y = noise({tokens, columns}, 2).to(dtype);
      const at::Tensor bias = noise({columns}, 3);
      for (const int64_t activation : {0, 1, 2, 3}) {
        for (const double p : {0.0, 0.3}) {
          const at::Tensor expected = kernels::bias_activation.cpu(x, bias, activation, places.rows, places.positions,
                                                                   p, seed, layer, site, step, {});
          const at::Tensor actual = kernels::bias_activation.cuda(misaligned(x), bias, activation, places.rows,
                                                                  places.positions, p, seed, layer, site, step, {});
          EXPECT(same_zeros(actual, expected), "tokens ", tokens, " columns ", columns);
          EXPECT_AT_MOST(difference(actual, expected), tolerance(dtype));
          const auto [expected_grad, expected_bias] = kernels::bias_activation_backward.cpu(
              grad_y, x, bias, activation, places.rows, places.positions, p, seed, layer, site, step, {});
          const auto [actual_grad, actual_bias] = kernels::bias_activation_backward.cuda(
              grad_y, x, bias, activation, places.rows, places.positions, p, seed, layer, site, step, {});
          EXPECT(same_zeros(actual_grad, expected_grad), "tokens ", tokens, " columns ", columns);
          EXPECT_AT_MOST(difference(actual_grad, expected_grad), tolerance(dtype));
          EXPECT_AT_MOST(difference(actual_bias, expected_bias), tolerance(at::kFloat));
        }
      }
    }
  }
}

TEST("CUDA: dropout, residual and LayerNorm and their gradients agree with the CPU, with its masks") {
  constexpr double eps = 1e-12;
  for (const auto& [tokens, columns] : shapes) {
    // The variance of one column is nothing but eps.
    if (columns == 1) continue;
    const Places places(tokens);
    const at::Tensor bias = noise({columns}, 3);
    const at::Tensor weight = noise({columns}, 4);
    const at::Tensor norm_bias = noise({columns}, 5);
    for (const at::ScalarType dtype : dtypes) {
      const at::Tensor x = noise({tokens, columns}, 1).to(dtype);
      const at::Tensor residual = (noise({tokens, columns}, 2) + 3).to(dtype);
      const at::Tensor grad_y = noise({tokens, columns}, 6).to(dtype);
      for (const double p : {0.0, 0.3}) {
        const auto [y, normalized, rstd] = kernels::dropout_add_norm.cpu(
            x, bias, residual, weight, norm_bias, eps, places.rows, places.positions, p, seed, layer, site, step, {});
        const auto [actual_y, actual_normalized, actual_rstd] =
            kernels::dropout_add_norm.cuda(x, bias, misaligned(residual), weight, norm_bias, eps, places.rows,
                                           places.positions, p, seed, layer, site, step, {});
        EXPECT_AT_MOST(difference(actual_y, y), tolerance(dtype));
        EXPECT_AT_MOST(difference(actual_normalized, normalized), tolerance(dtype));
        EXPECT_AT_MOST(difference(actual_rstd, rstd), tolerance(at::kFloat));
        const auto [grad_x, grad_residual, grad_bias, grad_weight, grad_norm_bias] =
            kernels::dropout_add_norm_backward.cpu(grad_y, normalized, rstd, weight, places.rows, places.positions, p,
                                                   seed, layer, site, step, {});
        const auto [actual_x, actual_residual, actual_bias, actual_weight, actual_norm_bias] =
            kernels::dropout_add_norm_backward.cuda(grad_y, normalized, rstd, weight, places.rows, places.positions, p,
                                                    seed, layer, site, step, {});
        EXPECT(same_zeros(actual_x, grad_x), "tokens ", tokens, " columns ", columns);
        EXPECT_AT_MOST(difference(actual_x, grad_x), tolerance(dtype));
        EXPECT_AT_MOST(difference(actual_residual, grad_residual), tolerance(dtype));
        EXPECT_AT_MOST(difference(actual_bias, grad_bias), 2 * tolerance(at::kFloat));
        EXPECT_AT_MOST(difference(actual_weight, grad_weight), 2 * tolerance(at::kFloat));
        EXPECT_AT_MOST(difference(actual_norm_bias, grad_norm_bias), 2 * tolerance(at::kFloat));
        // Results of a GPU come as copies.
        if (kernels::set_order != nullptr) EXPECT_EQUAL(actual_x.is_same(actual_residual), p == 0.0);
      }
    }
  }
}

TEST("CUDA: embeddings and the gradients of their tables agree with the CPU, each row's tokens in order") {
  constexpr double eps = 1e-12;
  for (const auto& [tokens, columns] : shapes) {
    if (columns == 1) continue;
    const Places places(tokens);
    const at::Tensor number = at::arange(tokens, at::kLong);
    const at::Tensor word_ids = (number * 7 % 10).to(at::kInt);
    const at::Tensor position_ids = (number % 5).to(at::kInt);
    const at::Tensor segment_ids = (number % 2).to(at::kInt);
    const at::Tensor word = noise({50, columns}, 1);
    const at::Tensor position = noise({9, columns}, 2);
    const at::Tensor weight = noise({columns}, 4);
    const at::Tensor norm_bias = noise({columns}, 5);
    for (const at::ScalarType dtype : dtypes) {
      const at::Tensor grad_y = noise({tokens, columns}, 6).to(dtype);
      for (const bool segments : {false, true}) {
        const auto optional = [&](const at::Tensor& tensor) { return segments ? std::optional(tensor) : std::nullopt; };
        const std::optional<at::Tensor> segment = optional(noise({2, columns}, 3));
        const std::optional<at::Tensor> kinds = optional(segment_ids);
        const double scale = segments ? 1.0 : 3.0;
        const auto [y, normalized, rstd] =
            kernels::embed.cpu(word, position, segment, word_ids, position_ids, kinds, scale, weight, norm_bias, eps,
                               dtype, places.rows, places.positions, 0.3, seed, layer, site, step, {});
        const auto [actual_y, actual_normalized, actual_rstd] =
            kernels::embed.cuda(word, position, segment, word_ids, position_ids, kinds, scale, weight, norm_bias, eps,
                                dtype, places.rows, places.positions, 0.3, seed, layer, site, step, {});
        EXPECT(same_zeros(actual_y, y), "tokens ", tokens, " columns ", columns);
        EXPECT_AT_MOST(difference(actual_y, y), tolerance(dtype));
        EXPECT_AT_MOST(difference(actual_normalized, normalized), tolerance(at::kFloat));
        EXPECT_AT_MOST(difference(actual_rstd, rstd), tolerance(at::kFloat));
        // Gradients are added to what is there.
        struct Gradients {
          at::Tensor word;
          at::Tensor position;
          std::optional<at::Tensor> segment;
        };
        const auto ones = [&] {
          return Gradients{at::ones_like(word), at::ones_like(position), optional(at::ones({2, columns}))};
        };
        const Gradients expected = ones();
        const Gradients actual = ones();
        const auto [grad_weight, grad_norm_bias] = kernels::embed_backward.cpu(
            grad_y, normalized, rstd, weight, word_ids, position_ids, kinds, scale, expected.word, expected.position,
            expected.segment, places.rows, places.positions, 0.3, seed, layer, site, step, {});
        const auto [actual_weight, actual_norm_bias] = kernels::embed_backward.cuda_once(
            segments, grad_y, normalized, rstd, weight, word_ids, position_ids, kinds, scale, actual.word,
            actual.position, actual.segment, places.rows, places.positions, 0.3, seed, layer, site, step, {});
        EXPECT_AT_MOST(difference(actual_weight, grad_weight), 2 * tolerance(at::kFloat));
        EXPECT_AT_MOST(difference(actual_norm_bias, grad_norm_bias), 2 * tolerance(at::kFloat));
        EXPECT_AT_MOST(difference(actual.word, expected.word), 2 * tolerance(at::kFloat));
        EXPECT_AT_MOST(difference(actual.position, expected.position), 2 * tolerance(at::kFloat));
        if (segments) EXPECT_AT_MOST(difference(*actual.segment, *expected.segment), 2 * tolerance(at::kFloat));
      }
    }
  }
}

TEST("CUDA: mixout has the CPU's masks, for stacked parameters, columns and masks that are given") {
  for (const auto& [rows, columns] : std::vector<std::array<int64_t, 2>>{{3, 1}, {6, 13}, {48, 129}, {6, 2000}}) {
    const at::Tensor values = noise({rows, columns}, 1);
    const at::Tensor target = noise({rows, columns}, 2);
    for (const at::ScalarType dtype : dtypes) {
      const at::Tensor grad = noise({rows, columns}, 3).to(dtype);
      for (const bool column : {false, true}) {
        const at::Tensor given = noise({column ? 1 : rows, columns}, 4).gt(0);
        const auto compare = [&](const std::optional<at::Tensor>& mask, const std::vector<double>& p, bool exact,
                                 const std::optional<at::Tensor>& counter) {
          const at::Tensor expected =
              kernels::mixout.cpu(values, target, mask, p, column, exact, dtype, seed, layer, 3, step, 2, counter);
          const at::Tensor actual =
              kernels::mixout.cuda(values, target, mask, p, column, exact, dtype, seed, layer, 3, step, 2, counter);
          EXPECT(at::equal(actual.eq(target.to(dtype)), expected.eq(target.to(dtype))), rows, " x ", columns);
          EXPECT_AT_MOST(difference(actual, expected), tolerance(dtype));
          EXPECT(reference::same_bits(
                     kernels::mixout_backward.cuda(misaligned(grad), mask, p, column, exact, seed, layer, 3, step, 2,
                                                   counter),
                     kernels::mixout_backward.cpu(grad, mask, p, column, exact, seed, layer, 3, step, 2, counter)),
                 rows, " x ", columns);
        };
        compare({}, {0.3}, true, {});
        compare({}, {0.3}, false, at::tensor({9, 8, 7}, at::kLong));
        compare({}, {0.1, 0.0, 0.7}, true, {});
        compare(given, {0.4}, true, {});
      }
    }
  }
}

TEST("CUDA: normal numbers are the CPU's to the last digit that mathematical libraries agree on") {
  for (const int64_t count : {0, 1, 3, 4, 1021, 5000}) {
    at::Tensor expected = at::zeros({count});
    at::Tensor actual = at::zeros({count});
    kernels::normal_.cpu(expected, 0.02, seed, 2, layer, 1);
    kernels::normal_.cuda_once(false, actual, 0.02, seed, 2, layer, 1);
    EXPECT_AT_MOST(difference(actual, expected), 1e-7);
  }
}

TEST("CUDA: what a kernel cannot hold is refused by name") {
  const Places places(2);
  const at::Tensor wide = at::zeros({2, 8200});
  const at::Tensor vector = at::zeros({8200});
  EXPECT_THROWS(kernels::dropout_add_norm.cuda(wide, vector, wide, vector, vector, 0, places.rows, places.positions, 0,
                                               1, 1, 1, 1, {}),
                "8200 columns");
  EXPECT_THROWS(kernels::packed_attention.cuda(at::zeros({2, 3 * 136}), reference::ints({0, 2}), reference::ints({5}),
                                               1, false, 0, 1, 1, 1, 1, {}),
                "heads of 136 columns");
}
