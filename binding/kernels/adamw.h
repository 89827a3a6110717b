#pragma once

#include <cmath>

#include "kernels/philox.h"

namespace steadytune {

/// Meaning of the bits in the flags of one arena segment.
enum SegmentFlag : int32_t {
  /// Takes no part in the update or in the gradient norm.
  segment_frozen = 1,
  /// Decay pulls towards the value at the start of fine-tuning instead of towards zero.
  segment_decay_towards_start = 2,
  /// p -= lambda * d instead of p -= lr * lambda * d.
  segment_decay_unscaled = 4,
};

/// What one AdamW step does with every element of a segment; all schedules and corrections are folded in.
struct AdamwCoefficients {
  /// min(1, max_grad_norm / (norm + 1e-6)).
  float clip;
  float beta2;
  float one_minus_beta1;
  float one_minus_beta2;
  /// 1 / sqrt(1 - beta2^t), or 1 without bias correction.
  float denominator_scale;
  float eps;
  /// lr * lr_scale / (1 - beta1^t), or lr * lr_scale without bias correction.
  float step_size;
  /// Share of the distance to the target that decay removes.
  float decay;
};

/// What the segments of one step share.
struct AdamwStep {
  double lr;
  double beta1;
  double beta2;
  double eps;
  double clip;
  /// 1 - beta^t, or 1 without bias correction.
  double correction1;
  double correction2;
};

/// `step` counts from 1; `squared_norm` is finite.
STEADYTUNE_HOST_DEVICE AdamwStep adamw_step(double lr, double beta1, double beta2, double eps, bool bias_correction,
                                            int64_t step, double max_grad_norm, double squared_norm) {
  const double allowed = max_grad_norm / (std::sqrt(squared_norm) + 1e-6);
  const double count = static_cast<double>(step);
  return {
      .lr = lr,
      .beta1 = beta1,
      .beta2 = beta2,
      .eps = eps,
      .clip = max_grad_norm > 0.0 && allowed < 1.0 ? allowed : 1.0,
      .correction1 = bias_correction ? 1.0 - std::pow(beta1, count) : 1.0,
      .correction2 = bias_correction ? 1.0 - std::pow(beta2, count) : 1.0,
  };
}

STEADYTUNE_HOST_DEVICE AdamwCoefficients adamw_coefficients(const AdamwStep& step, float lr_scale, float weight_decay,
                                                            int32_t flags) {
  const double lr = step.lr * lr_scale;
  const double decay = weight_decay;
  return {
      .clip = static_cast<float>(step.clip),
      .beta2 = static_cast<float>(step.beta2),
      .one_minus_beta1 = static_cast<float>(1.0 - step.beta1),
      .one_minus_beta2 = static_cast<float>(1.0 - step.beta2),
      .denominator_scale = static_cast<float>(1.0 / std::sqrt(step.correction2)),
      .eps = static_cast<float>(step.eps),
      .step_size = static_cast<float>(lr / step.correction1),
      .decay = static_cast<float>((flags & segment_decay_unscaled) != 0 ? decay : lr * decay),
  };
}

/// One element (Value = float) or one vector of them. `target` is zero or the start value; `square_root` is the one of
/// the device.
///
/// Decay and update are summed before they are taken from the value: 1 - lr * lambda is no longer 1 in float32 only
/// from lr * lambda = 6e-8 on, and rounds badly far above that, while the sum keeps it.
template <typename Value, typename SquareRoot>
STEADYTUNE_HOST_DEVICE void adamw_element(const AdamwCoefficients& c, Value& value, const Value& gradient,
                                          Value& moment1, Value& moment2, const Value& target,
                                          const SquareRoot& square_root) {
  const Value clipped = gradient * Value(c.clip);
  moment1 = moment1 + Value(c.one_minus_beta1) * (clipped - moment1);
  moment2 = Value(c.beta2) * moment2 + Value(c.one_minus_beta2) * clipped * clipped;
  const Value denominator = square_root(moment2) * Value(c.denominator_scale) + Value(c.eps);
  value = value - (Value(c.decay) * (value - target) + Value(c.step_size) * moment1 / denominator);
}

}  // namespace steadytune
