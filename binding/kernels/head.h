#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/philox.h"

namespace steadytune {

// The loss of one row of logits, and its gradient to them. Logits are few, so all of it is in double: devices differ by
// the last rounding alone, and a loss that is nearly 0 keeps its digits. A logit that is NaN makes both NaN.

/// -log softmax(logits)[label].
STEADYTUNE_HOST_DEVICE double cross_entropy(const float* logits, int64_t outputs, int64_t label, float* grad) {
  double largest = logits[0];
  for (int64_t i = 1; i < outputs; ++i) largest = logits[i] > largest ? logits[i] : largest;
  // The label's own share of the sum is left out: beside it a small rest would be lost.
  const double of_label = logits[label] - largest;
  double rest = 0.0;
  for (int64_t i = 0; i < outputs; ++i) {
    if (i != label) rest += std::exp(logits[i] - largest);
  }
  const double sum = std::exp(of_label) + rest;
  for (int64_t i = 0; i < outputs; ++i) {
    grad[i] = static_cast<float>(i == label ? -rest / sum : std::exp(logits[i] - largest) / sum);
  }
  return of_label == 0.0 ? std::log1p(rest) : std::log(sum) - of_label;
}

/// (logit - score)^2.
STEADYTUNE_HOST_DEVICE double squared_error(float logit, float score, float* grad) {
  const double difference = static_cast<double>(logit) - static_cast<double>(score);
  *grad = static_cast<float>(2.0 * difference);
  return difference * difference;
}

/// Multiplies one output's gradients, [rows, outputs] at its column, by that of the loss; returns their sum over rows.
STEADYTUNE_HOST_DEVICE float scale_output(float grad_loss, const float* grad_logits, int64_t rows, int64_t outputs,
                                          float* scaled) {
  float sum = 0.0f;
  for (int64_t row = 0; row < rows; ++row) {
    const float grad = grad_loss * grad_logits[row * outputs];
    scaled[row * outputs] = grad;
    sum += grad;
  }
  return sum;
}

}  // namespace steadytune
