#pragma once

#include <algorithm>

#include "kernels/cpu/vector_dropout_lanes.h"
#include "kernels/cpu/vector_elements.h"

namespace steadytune::kernels::cpu {
namespace {

/// Columns of a token whose lanes are drawn at a time.
constexpr int64_t lane_columns = 512;

/// Draws token-wise masks piece by piece.
class TokenLanes {
 public:
  explicit TokenLanes(const TokenMask& mask) : mask_(mask), lanes_(mask.draw) {}

  /// Lanes of the columns begin .. begin + columns of one token: begin is a multiple of 8, columns at most
  /// lane_columns; `lanes` has room for lane_columns.
  void draw(int64_t token, int64_t begin, int64_t columns, uint16_t* lanes) const {
    constexpr int64_t most_blocks = lane_columns / dropout_block_columns;
    uint32_t place[most_blocks];
    uint32_t block[most_blocks];
    for (int64_t i = 0; i < most_blocks; ++i) {
      place[i] = static_cast<uint32_t>(mask_.positions[token]);
      block[i] = static_cast<uint32_t>(begin / dropout_block_columns + i);
    }
    lanes_.draw(static_cast<uint32_t>(mask_.rows[token]), place, block,
                (columns + dropout_block_columns - 1) / dropout_block_columns, lanes);
  }

  /// 0 or the scale for each of `width` lanes.
  Vec factors(const uint16_t* lanes) const { return lanes_.factors(lanes); }

 private:
  const TokenMask& mask_;
  DropoutLanes lanes_;
};

}  // namespace
}  // namespace steadytune::kernels::cpu
