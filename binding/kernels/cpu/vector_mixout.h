#pragma once

#include <algorithm>

#include "kernels/cpu/vector_dropout_lanes.h"
#include "kernels/mixout.h"

namespace steadytune::kernels::cpu {
namespace {

inline void mixout_factors(const MixoutDraw& draw, int64_t first, int64_t count, float* factors) {
  constexpr int64_t chunk_blocks = 64;
  constexpr int64_t chunk_elements = chunk_blocks * mixout_block_elements;
  uint32_t block[chunk_blocks];
  uint32_t unused[chunk_blocks] = {};
  uint16_t lanes[chunk_elements];
  const DropoutLanes mask(draw.mask);
  for (int64_t begin = 0; begin < count; begin += chunk_elements) {
    const int64_t size = std::min(chunk_elements, count - begin);
    for (int64_t i = 0; i < chunk_blocks; ++i) {
      block[i] = static_cast<uint32_t>((first + begin) / mixout_block_elements + i);
    }
    mask.draw(draw.micro_batch, block, unused, (size + mixout_block_elements - 1) / mixout_block_elements, lanes);
    mask.for_each_factor(lanes, size, [&](int64_t i, float factor) { factors[begin + i] = factor; });
  }
}

template <typename Scalar>
void mixout_elements(const float* values, const float* target, const float* factors, Scalar* output, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    store_float(output[i], mixout_element(values[i], target[i], factors[i]));
  }
}

template <typename Scalar>
void mixout_backward_elements(const Scalar* grad_output, const float* factors, float* grad_values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    grad_values[i] = load_float(grad_output[i]) * factors[i];
  }
}

}  // namespace
}  // namespace steadytune::kernels::cpu
