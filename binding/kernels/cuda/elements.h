#pragma once

#include <c10/util/BFloat16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/dropout.h"

// Elements in groups of eight, the columns of one Philox block: 16 bytes of bfloat16, 32 of float32. All arithmetic is
// in float32. Included by *.cu alone.
namespace steadytune::kernels::cuda {

inline constexpr int group_size = dropout_block_columns;

struct Group {
  float of[group_size];
};

__device__ __forceinline__ bool is_aligned(const void* place) { return (reinterpret_cast<uintptr_t>(place) & 15) == 0; }

__device__ __forceinline__ float load_float(float value) { return value; }
__device__ __forceinline__ float load_float(c10::BFloat16 value) {
  return __uint_as_float(static_cast<uint32_t>(value.x) << 16);
}

/// bfloat16 bits of a value: to nearest, ties to even, as the CPU kernels round.
__device__ __forceinline__ uint32_t bfloat16_bits(float value) {
  const uint32_t bits = __float_as_uint(value);
  const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  return is_nan ? 0x7FC0u : (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
}

__device__ __forceinline__ void store_float(float& place, float value) { place = value; }
__device__ __forceinline__ void store_float(c10::BFloat16& place, float value) {
  place.x = static_cast<uint16_t>(bfloat16_bits(value));
}

__device__ __forceinline__ Group load_whole(const float* from) {
  const float4 low = reinterpret_cast<const float4*>(from)[0];
  const float4 high = reinterpret_cast<const float4*>(from)[1];
  return {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
}

__device__ __forceinline__ Group load_whole(const c10::BFloat16* from) {
  const uint4 bits = *reinterpret_cast<const uint4*>(from);
  const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
  Group group;
  for (int i = 0; i < 4; ++i) {
    group.of[2 * i] = __uint_as_float(words[i] << 16);
    group.of[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000u);
  }
  return group;
}

__device__ __forceinline__ void store_whole(float* to, const Group& group) {
  reinterpret_cast<float4*>(to)[0] = make_float4(group.of[0], group.of[1], group.of[2], group.of[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(group.of[4], group.of[5], group.of[6], group.of[7]);
}

__device__ __forceinline__ void store_whole(c10::BFloat16* to, const Group& group) {
  uint32_t words[4];
  for (int i = 0; i < 4; ++i) {
    words[i] = bfloat16_bits(group.of[2 * i]) | bfloat16_bits(group.of[2 * i + 1]) << 16;
  }
  *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
}

/// The first `count` elements of a group as they are stored, zeros behind them.
__device__ __forceinline__ uint4 load_stored(const c10::BFloat16* from, int64_t count) {
  if (count >= group_size && is_aligned(from)) {
    return *reinterpret_cast<const uint4*>(from);
  }
  uint32_t words[4] = {};
  for (int i = 0; i < group_size; ++i) {
    if (i < count) {
      words[i / 2] |= static_cast<uint32_t>(from[i].x) << (16 * (i % 2));
    }
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

__device__ __forceinline__ void store_stored(c10::BFloat16* to, int64_t count, const uint4& bits) {
  if (count >= group_size && is_aligned(to)) {
    *reinterpret_cast<uint4*>(to) = bits;
    return;
  }
  const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
  for (int i = 0; i < group_size; ++i) {
    if (i < count) {
      to[i].x = static_cast<uint16_t>(words[i / 2] >> (16 * (i % 2)));
    }
  }
}

/// The first `count` elements of a group, zeros behind them.
template <typename Scalar>
__device__ __forceinline__ Group load_group(const Scalar* from, int64_t count) {
  if (count >= group_size && is_aligned(from)) {
    return load_whole(from);
  }
  Group group;
  for (int i = 0; i < group_size; ++i) {
    group.of[i] = i < count ? load_float(from[i]) : 0.0f;
  }
  return group;
}

template <typename Scalar>
__device__ __forceinline__ void store_group(Scalar* to, int64_t count, const Group& group) {
  if (count >= group_size && is_aligned(to)) {
    store_whole(to, group);
    return;
  }
  for (int i = 0; i < group_size; ++i) {
    if (i < count) {
      store_float(to[i], group.of[i]);
    }
  }
}

}  // namespace steadytune::kernels::cuda
