#pragma once

#include <cstdint>

#include "kernels/philox.h"

namespace steadytune {

/// GELU by the error function, its approximation by tanh, max(x, 0), and tanh itself, which poolers have.
enum class Activation : int64_t { gelu = 0, gelu_tanh = 1, relu = 2, tanh = 3 };

// The activations and their derivatives for one element or for one vector of them: Value is float or a vector of float.
// `Math` gives what operators do not: multiply_add(a, b, c) = a * b + c in one rounding, absolute(x), at_most(x, limit)
// and at_least(x, limit), both NaN for a NaN x, negative(x, yes, no) which chooses by the sign bit, and
// times_power(x, n) = x * 2^n for the integer n that sits in the low bits of a float's significand.
//
// No function of a mathematical library takes part, so devices differ by the rounding of single operations alone.

namespace activation {

/// Adding it to |u| < 2^22 leaves round(u) in the low bits of the sum.
inline constexpr float rounder = 12582912.0f;

/// 2^u for -125 <= u <= 0, to 1e-7 of its value.
template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value power_of_two(const Value& u) {
  const Value shifted = u + Value(rounder);
  const Value fraction = u - (shifted - Value(rounder));
  // Minimax on -0.5 .. 0.5.
  Value sum = Value(0.00132764713f);
  sum = Math::multiply_add(sum, fraction, Value(0.00967554096f));
  sum = Math::multiply_add(sum, fraction, Value(0.0555071309f));
  sum = Math::multiply_add(sum, fraction, Value(0.240221202f));
  sum = Math::multiply_add(sum, fraction, Value(0.693146944f));
  sum = Math::multiply_add(sum, fraction, Value(1.00000012f));
  return Math::times_power(sum, shifted);
}

/// What the normal distribution holds beyond `distance` >= 0, split so that both directions share it:
/// 1 - Phi(distance) = gauss * ratio, with gauss = exp(-distance^2 / 2).
template <typename Value>
struct NormalTail {
  Value distance;
  Value gauss;
  Value ratio;
};

/// Relative error of the tail below 1e-6 up to 12.5, where the tail is 4e-36; beyond that it stays there, so that
/// nothing becomes a denormal number, and infinity is no special case.
template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE NormalTail<Value> normal_tail(const Value& x) {
  const Value distance = Math::at_most(Math::absolute(x), 12.5f);
  const Value gauss = power_of_two<Math>(distance * distance * Value(-0.72134752f));
  // erfcx(distance / sqrt 2) / 2 as a quotient of polynomials, minimax in relative error on 0 .. 12.5.
  Value numerator = Value(0.00394951971f);
  numerator = Math::multiply_add(numerator, distance, Value(0.0395034887f));
  numerator = Math::multiply_add(numerator, distance, Value(0.179872349f));
  numerator = Math::multiply_add(numerator, distance, Value(0.433734715f));
  numerator = Math::multiply_add(numerator, distance, Value(0.5f));
  Value denominator = Value(0.00989981461f);
  denominator = Math::multiply_add(denominator, distance, Value(0.0990287066f));
  denominator = Math::multiply_add(denominator, distance, Value(0.46059525f));
  denominator = Math::multiply_add(denominator, distance, Value(1.18850148f));
  denominator = Math::multiply_add(denominator, distance, Value(1.66535437f));
  denominator = Math::multiply_add(denominator, distance, Value(1.0f));
  return {distance, gauss, numerator / denominator};
}

}  // namespace activation

/// x Phi(x). Written as max(x, 0) - |x| Phi(-|x|), which keeps its relative accuracy where x is far below zero.
template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value gelu(const Value& x) {
  const activation::NormalTail<Value> tail = activation::normal_tail<Math>(x);
  return Math::at_least(x, 0.0f) - tail.distance * tail.gauss * tail.ratio;
}

/// Phi(x) + x phi(x).
template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value gelu_derivative(const Value& x) {
  const activation::NormalTail<Value> tail = activation::normal_tail<Math>(x);
  const Value below = tail.gauss * Math::multiply_add(tail.distance, Value(-0.39894228f), tail.ratio);
  return Math::negative(x, below, Value(1.0f) - below);
}

namespace activation {

/// What tanh GELU and its derivative share: with u = sqrt(2 / pi) (x + 0.044715 x^3), sigmoid(-2 |u|) and
/// sigmoid(2 |u|), together 1.
template <typename Value>
struct TanhParts {
  Value distance;
  Value square;
  Value small;
  Value large;
};

/// `distance` = |x| up to 8, where the smaller sigmoid is 4e-22.
template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE TanhParts<Value> tanh_parts(const Value& x) {
  const Value distance = Math::at_most(Math::absolute(x), 8.0f);
  const Value square = distance * distance;
  // -2 sqrt(2 / pi) / ln 2 and 0.044715 times that.
  const Value exponent = distance * Math::multiply_add(square, Value(-0.10294324f), Value(-2.3022082f));
  const Value power = power_of_two<Math>(exponent);
  const Value large = Value(1.0f) / (Value(1.0f) + power);
  return {distance, square, power * large, large};
}

}  // namespace activation

/// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value gelu_tanh(const Value& x) {
  const activation::TanhParts<Value> parts = activation::tanh_parts<Math>(x);
  return Math::at_least(x, 0.0f) - parts.distance * parts.small;
}

template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value gelu_tanh_derivative(const Value& x) {
  const activation::TanhParts<Value> parts = activation::tanh_parts<Math>(x);
  // 2 sqrt(2 / pi) and 3 * 0.044715 times that.
  const Value slope = Math::multiply_add(parts.square, Value(0.21406445f), Value(1.5957691f));
  const Value below = parts.small * (Value(1.0f) - parts.distance * parts.large * slope);
  return Math::negative(x, below, Value(1.0f) - below);
}

template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value relu(const Value& x) {
  return Math::at_least(x, 0.0f);
}

/// Zero at zero, as PyTorch has it.
template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value relu_derivative(const Value& x) {
  return Math::positive(x, Value(1.0f), Value(0.0f));
}

namespace activation {

/// distance = |x| up to 40, power = exp(-2 distance), which is then 2e-35, and large = 1 / (1 + power).
template <typename Value>
struct Decay {
  Value distance;
  Value power;
  Value large;
};

template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Decay<Value> decay(const Value& x) {
  const Value distance = Math::at_most(Math::absolute(x), 40.0f);
  const Value power = power_of_two<Math>(distance * Value(-2.88539008f));
  return {distance, power, Value(1.0f) / (Value(1.0f) + power)};
}

}  // namespace activation

/// Relative error below 3e-7.
template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value tanh(const Value& x) {
  const activation::Decay<Value> parts = activation::decay<Math>(x);
  const Value far = (Value(1.0f) - parts.power) * parts.large;
  // That difference loses its digits near zero: there d + d^3 q(d^2), minimax in relative error on 0 .. 0.5.
  const Value square = parts.distance * parts.distance;
  Value sum = Value(0.017241492f);
  sum = Math::multiply_add(sum, square, Value(-0.0530454945f));
  sum = Math::multiply_add(sum, square, Value(0.13325879f));
  sum = Math::multiply_add(sum, square, Value(-0.333331439f));
  const Value near = Math::multiply_add(parts.distance * square, sum, parts.distance);
  const Value size = Math::negative(parts.distance - Value(0.5f), near, far);
  return Math::negative(x, Value(0.0f) - size, size);
}

/// 1 - tanh(x)^2, as a product that keeps its digits where tanh is nearly 1.
template <typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value tanh_derivative(const Value& x) {
  const activation::Decay<Value> parts = activation::decay<Math>(x);
  return Value(4.0f) * parts.power * parts.large * parts.large;
}

template <Activation activation, typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value activate(const Value& x) {
  if constexpr (activation == Activation::gelu) {
    return gelu<Math>(x);
  } else if constexpr (activation == Activation::gelu_tanh) {
    return gelu_tanh<Math>(x);
  } else if constexpr (activation == Activation::tanh) {
    return tanh<Math>(x);
  } else {
    return relu<Math>(x);
  }
}

template <Activation activation, typename Math, typename Value>
STEADYTUNE_HOST_DEVICE Value activation_derivative(const Value& x) {
  if constexpr (activation == Activation::gelu) {
    return gelu_derivative<Math>(x);
  } else if constexpr (activation == Activation::gelu_tanh) {
    return gelu_tanh_derivative<Math>(x);
  } else if constexpr (activation == Activation::tanh) {
    return tanh_derivative<Math>(x);
  } else {
    return relu_derivative<Math>(x);
  }
}

}  // namespace steadytune
