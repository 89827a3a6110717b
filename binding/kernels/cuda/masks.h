#pragma once

#include "kernels/cuda/elements.h"
#include "kernels/cuda/kernels.h"

// Masks as the kernels draw them: the same bits as on the CPU. Included by *.cu alone.
namespace steadytune::kernels::cuda {

/// The draw with what its counter adds.
__device__ __forceinline__ DropoutDraw counted(const DeviceDraw& device) {
  DropoutDraw draw = device.draw;
  if (device.counter != nullptr) {
    draw.step += static_cast<uint32_t>(device.counter[0]);
    draw.key.word[0] += static_cast<uint32_t>(device.counter[2]);
  }
  return draw;
}

/// Multiplies a group by the factors of one Philox block.
__device__ __forceinline__ void drop(const DropoutDraw& draw, const PhiloxBlock& bits, Group& group) {
  for (int i = 0; i < group_size; ++i) {
    group.of[i] *= dropout_factor(draw, bits, i);
  }
}

/// The token-wise mask of one token.
class TokenDropout {
 public:
  __device__ __forceinline__ TokenDropout(const TokenMask& mask, int64_t token)
      : draw_(counted(mask.draw)),
        row_(static_cast<uint32_t>(mask.rows[token])),
        position_(static_cast<uint32_t>(mask.positions[token])) {}

  /// Multiplies the group that begins at a column by its factors.
  __device__ __forceinline__ void apply(int64_t column, Group& group) const {
    if (draw_.threshold > 0) {
      const auto block = static_cast<uint32_t>(column / group_size);
      drop(draw_, philox4x32(dropout_counter(draw_.step, row_, position_, block), draw_.key), group);
    }
  }

 private:
  DropoutDraw draw_;
  uint32_t row_;
  uint32_t position_;
};

}  // namespace steadytune::kernels::cuda
