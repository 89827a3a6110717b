#pragma once

#include <cmath>

#include "kernels/philox.h"

namespace steadytune {

struct NormalPair {
  double first;
  double second;
};

/// Two independent N(0, 1) from two random words by Box and Muller. In double, so that rounding to float32 hides what
/// the mathematical libraries of different machines make of the last digits.
STEADYTUNE_HOST_DEVICE NormalPair box_muller(uint32_t first, uint32_t second) {
  // Half a step off zero, where the logarithm is infinite; 2^-33 bounds the tails at 6.8 standard deviations.
  const double radius = std::sqrt(-2.0 * std::log((first + 0.5) * 0x1p-32));
  const double angle = 6.283185307179586 * ((second + 0.5) * 0x1p-32);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

/// Four normal numbers for elements 4 * block .. 4 * block + 3 of a tensor.
STEADYTUNE_HOST_DEVICE void normal_block(PhiloxKey key, uint64_t block, double (&normals)[4]) {
  const PhiloxBlock bits = philox4x32({{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0}}, key);
  const NormalPair low = box_muller(bits.word[0], bits.word[1]);
  const NormalPair high = box_muller(bits.word[2], bits.word[3]);
  normals[0] = low.first;
  normals[1] = low.second;
  normals[2] = high.first;
  normals[3] = high.second;
}

}  // namespace steadytune
