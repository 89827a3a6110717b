#pragma once

#include <algorithm>

#include "kernels/cpu/vector_dropout_lanes.h"

namespace steadytune::kernels::cpu {
namespace {

template <typename Scalar>
void dropout_tokens(const Scalar* x, Scalar* y, const int32_t* rows, const int32_t* positions, int64_t count,
                    int64_t columns, const DropoutDraw& draw) {
  constexpr int64_t chunk_blocks = 64;
  constexpr int64_t chunk_columns = chunk_blocks * dropout_block_columns;
  uint32_t place[chunk_blocks];
  uint32_t block[chunk_blocks];
  uint16_t lanes[chunk_columns];
  const DropoutLanes dropout(draw);
  for (int64_t begin = 0; begin < columns; begin += chunk_columns) {
    const int64_t size = std::min(chunk_columns, columns - begin);
    const int64_t blocks = (size + dropout_block_columns - 1) / dropout_block_columns;
    for (int64_t i = 0; i < chunk_blocks; ++i) {
      block[i] = static_cast<uint32_t>(begin / dropout_block_columns + i);
    }
    for (int64_t token = 0; token < count; ++token) {
      std::fill_n(place, chunk_blocks, static_cast<uint32_t>(positions[token]));
      dropout.draw(static_cast<uint32_t>(rows[token]), place, block, blocks, lanes);
      const Scalar* from = x + token * columns + begin;
      Scalar* to = y + token * columns + begin;
      dropout.for_each_factor(lanes, size, [&](int64_t column, float factor) {
        store_float(to[column], load_float(from[column]) * factor);
      });
    }
  }
}

}  // namespace
}  // namespace steadytune::kernels::cpu
