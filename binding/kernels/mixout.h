#pragma once

#include "kernels/dropout.h"

/// Mixout (Lee, Cho & Kang, ICLR 2020): W' = ((1 - M) W + M U - p U) / (1 - p), where the mask M is 1 with probability
/// p and then puts the target U, the value at the start of fine-tuning, in the place of W. The mean of W' is W.
///
/// Seen from the factor f that dropout would give, 0 where M is 1 and 1 / (1 - p) elsewhere, this is U + f (W - U).
namespace steadytune {

/// Everything about a mixout mask but the place. A mask is drawn for every forward pass, so that each part of an
/// accumulated step has its own.
struct MixoutDraw {
  DropoutDraw mask;
  uint32_t micro_batch;
};

/// Elements that share one Philox block.
inline constexpr int mixout_block_elements = dropout_block_columns;

/// `block` = element / 8. The element is counted in the parameter's own matrix, row by row; of a mask per column it is
/// the column.
STEADYTUNE_HOST_DEVICE PhiloxBlock mixout_counter(const MixoutDraw& draw, uint32_t block) {
  return {{draw.mask.step, draw.micro_batch, block, 0}};
}

/// Exactly the target under a factor of 0, and exactly the value under 1 or where both are equal.
STEADYTUNE_HOST_DEVICE float mixout_element(float value, float target, float factor) {
  return factor > 0.0f ? value + (factor - 1.0f) * (value - target) : target;
}

}  // namespace steadytune
