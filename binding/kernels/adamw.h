#pragma once

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
  /// The segment's gradients stand in bfloat16 at the beginning of its place in the buffer, and fill half of it. On the
  /// CPU alone.
  segment_gradient_bfloat16 = 8,
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
