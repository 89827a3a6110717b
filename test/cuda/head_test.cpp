#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "../core/fused.h"
#include "kernels/activation.h"
#include "operators.h"

using fused::Places;
using kernels::difference;
using kernels::same_zeros;
using reference::noise;
using steadytune::Site;

namespace {

constexpr int64_t seed = 4000000000;
constexpr int64_t step = 804;
constexpr auto site = static_cast<int64_t>(Site::classifier);

/// Libraries add up the products in orders of their own.
constexpr double after_product = 1e-5;

struct Shape {
  int64_t rows;
  int64_t hidden;
  int64_t outputs;
};

}  // namespace

TEST("CUDA: a head, its loss and its gradients agree with the CPU, with its masks") {
  // More rows, and more outputs, than a block has threads.
  for (const auto& [rows, hidden, outputs] :
       std::vector<Shape>{{1, 20, 2}, {32, 384, 3}, {7, 33, 300}, {600, 16, 1}, {5, 8, 1}}) {
    const Places places(rows);
    const at::Tensor x = noise({rows, hidden}, 1);
    const at::Tensor dense = noise({hidden, hidden}, 2) * 0.3;
    const at::Tensor dense_bias = noise({hidden}, 3);
    const at::Tensor output = noise({outputs, hidden}, 4) * 0.3;
    const at::Tensor output_bias = noise({outputs}, 5);
    const at::Tensor grad_loss = at::scalar_tensor(1.0f / 32);
    std::vector<std::optional<at::Tensor>> labels{at::arange(rows, at::kLong) * 7 % outputs, std::nullopt};
    if (outputs == 1) labels.push_back(noise({rows}, 6));
    for (const auto& given : labels) {
      for (const int64_t activation : {0, 2, 3}) {
        for (const double p : {0.0, 0.3}) {
          const auto [widened, pooled, logits, loss, grad_logits] =
              kernels::head_loss.cpu(x, dense, dense_bias, output, output_bias, given, activation, places.rows,
                                     places.positions, p, seed, 0, site, step, {});
          const auto [actual_widened, actual_pooled, actual_logits, actual_loss, actual_grad] =
              kernels::head_loss.cuda(x, dense, dense_bias, output, output_bias, given, activation, places.rows,
                                      places.positions, p, seed, 0, site, step, {});
          EXPECT_AT_MOST(difference(actual_widened, widened), after_product);
          EXPECT(same_zeros(actual_pooled, pooled), "rows ", rows, " hidden ", hidden);
          EXPECT_AT_MOST(difference(actual_pooled, pooled), after_product);
          EXPECT_AT_MOST(difference(actual_logits, logits), after_product);
          EXPECT_AT_MOST(difference(actual_loss, loss), after_product);
          EXPECT_AT_MOST(difference(actual_grad, grad_logits), after_product);
          const auto [scaled, grad_widened, grad_dense_bias, grad_output_bias] =
              kernels::head_loss_backward.cpu(grad_loss, grad_logits, widened, dense_bias, output, activation,
                                              places.rows, places.positions, p, seed, 0, site, step, {});
          const auto [actual_scaled, actual_grad_widened, actual_dense_bias, actual_output_bias] =
              kernels::head_loss_backward.cuda(grad_loss, grad_logits, widened, dense_bias, output, activation,
                                               places.rows, places.positions, p, seed, 0, site, step, {});
          EXPECT(reference::same_bits(actual_scaled, scaled));
          EXPECT(same_zeros(actual_grad_widened, grad_widened), "rows ", rows, " hidden ", hidden);
          EXPECT_AT_MOST(difference(actual_grad_widened, grad_widened), after_product);
          EXPECT_AT_MOST(difference(actual_dense_bias, grad_dense_bias), after_product);
          EXPECT_AT_MOST(difference(actual_output_bias, grad_output_bias), after_product);
        }
      }
    }
  }
}

TEST("CUDA: a loss over a logit that is NaN or infinite is not finite") {
  const Places places(5);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    at::Tensor output_bias = at::zeros({3});
    output_bias[1] = bad;
    const auto results = kernels::head_loss.cuda(noise({5, 8}, 1), noise({8, 8}, 2), at::zeros({8}), noise({3, 8}, 3),
                                                 output_bias, at::zeros({5}, at::kLong), 3, places.rows,
                                                 places.positions, 0, seed, 0, site, step, {});
    EXPECT(!std::isfinite(std::get<3>(results).item<float>()));
  }
}
