#pragma once

#include "kernels/philox.h"

namespace steadytune {

/// Everything about a dropout mask but the place: an element is kept when its 16-bit lane is at least `threshold`, and
/// is then multiplied by `scale`. The scale uses the rounded probability, so the expectation is exact.
struct DropoutDraw {
  PhiloxKey key;
  uint32_t step;
  /// round(p * 65536), 0 .. 65535.
  uint32_t threshold;
  /// 65536 / (65536 - threshold).
  float scale;
};

/// Columns that share one Philox block.
inline constexpr int dropout_block_columns = 8;

/// Counter of a token-wise mask [token, column]; `row` is the row's number in the data set, `position` the token's
/// place in its row, `block` = column / 8.
STEADYTUNE_HOST_DEVICE PhiloxBlock dropout_counter(uint32_t step, uint32_t row, uint32_t position, uint32_t block) {
  return {{step, row, position, block}};
}

/// Third counter word of a mask on attention probabilities; the column is then the key's position.
STEADYTUNE_HOST_DEVICE uint32_t attention_place(uint32_t head, uint32_t query) { return (head << 16) | query; }

/// The factor of one element: 0 or `scale`.
STEADYTUNE_HOST_DEVICE float dropout_factor(const DropoutDraw& draw, const PhiloxBlock& bits, int column) {
  return philox_lane(bits, column % dropout_block_columns) >= draw.threshold ? draw.scale : 0.0f;
}

}  // namespace steadytune
