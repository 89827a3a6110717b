#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/cpu/vector_activation.h"
#include "kernels/cpu/vector_token_mask.h"

namespace steadytune::kernels::cpu {
namespace {

/// Zero in the lanes behind the last element.
inline Vec first_lanes(const Vec& values, Whole) { return values; }
inline Vec first_lanes(const Vec& values, int64_t count) { return Vec::set(Vec(0.0f), values, count); }

/// Mean and variance are taken from the float32 sums in `scratch` in two passes, so that nothing cancels.
template <bool drops, typename Scalar>
void add_norm_tokens(const AddNorm<Scalar>& tokens, const TokenMask& mask, int64_t count, int64_t columns,
                     float* scratch) {
  const TokenLanes dropout(mask);
  uint16_t lanes[lane_columns];
  for (int64_t token = 0; token < count; ++token) {
    const int64_t start = token * columns;
    Vec total(0.0f);
    for (int64_t begin = 0; begin < columns; begin += lane_columns) {
      const int64_t size = std::min(lane_columns, columns - begin);
      if constexpr (drops) {
        dropout.draw(token, begin, size, lanes);
      }
      for_each_vector(size, [&](int64_t i, auto elements) {
        const int64_t column = begin + i;
        Vec value = load_vector(tokens.x + start + column, elements) + load_vector(tokens.bias + column, elements);
        if constexpr (drops) {
          value = value * dropout.factors(lanes + i);
        }
        value = value + load_vector(tokens.residual + start + column, elements);
        total = total + first_lanes(value, elements);
        store_vector(scratch + column, value, elements);
      });
    }
    const float mean = sum_of(total) / static_cast<float>(columns);
    Vec squares(0.0f);
    for_each_vector(columns, [&](int64_t i, auto elements) {
      const Vec distance = first_lanes(load_vector(scratch + i, elements) - Vec(mean), elements);
      squares = at::vec::fmadd(distance, distance, squares);
    });
    const float rstd = 1.0f / std::sqrt(sum_of(squares) / static_cast<float>(columns) + tokens.eps);
    tokens.rstd[token] = rstd;
    for_each_vector(columns, [&](int64_t i, auto elements) {
      const Vec normalized = (load_vector(scratch + i, elements) - Vec(mean)) * Vec(rstd);
      store_vector(tokens.normalized + start + i, normalized, elements);
      const Vec y = at::vec::fmadd(normalized, load_vector(tokens.weight + i, elements),
                                   load_vector(tokens.norm_bias + i, elements));
      store_vector(tokens.y + start + i, y, elements);
    });
  }
}

/// With g = grad_y weight: the gradient of h is rstd (g - mean(g) - normalized mean(g normalized)).
template <bool drops, typename Scalar>
void add_norm_backward_tokens(const AddNormBackward<Scalar>& tokens, const TokenMask& mask, int64_t count,
                              int64_t columns) {
  const TokenLanes dropout(mask);
  uint16_t lanes[token_group * lane_columns];
  float means[token_group];
  float slopes[token_group];
  zero(tokens.grad_bias, columns);
  zero(tokens.grad_weight, columns);
  zero(tokens.grad_norm_bias, columns);
  for (int64_t first = 0; first < count; first += token_group) {
    const int64_t group = std::min(token_group, count - first);
    for (int64_t token = 0; token < group; ++token) {
      const int64_t start = (first + token) * columns;
      Vec sum(0.0f);
      Vec products(0.0f);
      for_each_vector(columns, [&](int64_t i, auto elements) {
        const Vec scaled = load_vector(tokens.grad_y + start + i, elements) * load_vector(tokens.weight + i, elements);
        sum = sum + scaled;
        products = at::vec::fmadd(scaled, load_vector(tokens.normalized + start + i, elements), products);
      });
      means[token] = sum_of(sum) / static_cast<float>(columns);
      slopes[token] = sum_of(products) / static_cast<float>(columns);
    }
    for (int64_t begin = 0; begin < columns; begin += lane_columns) {
      const int64_t size = std::min(lane_columns, columns - begin);
      if constexpr (drops) {
        for (int64_t token = 0; token < group; ++token) {
          dropout.draw(first + token, begin, size, lanes + token * lane_columns);
        }
      }
      for_each_vector(size, [&](int64_t i, auto elements) {
        const int64_t column = begin + i;
        const Vec weight = load_vector(tokens.weight + column, elements);
        Vec grad_bias = load_vector(tokens.grad_bias + column, elements);
        Vec grad_weight = load_vector(tokens.grad_weight + column, elements);
        Vec grad_norm_bias = load_vector(tokens.grad_norm_bias + column, elements);
        for (int64_t token = 0; token < group; ++token) {
          const int64_t place = (first + token) * columns + column;
          const Vec grad_y = load_vector(tokens.grad_y + place, elements);
          const Vec normalized = load_vector(tokens.normalized + place, elements);
          grad_norm_bias = grad_norm_bias + grad_y;
          grad_weight = at::vec::fmadd(grad_y, normalized, grad_weight);
          const Vec spread = at::vec::fmadd(normalized, Vec(slopes[token]), Vec(means[token]));
          Vec grad = (grad_y * weight - spread) * Vec(tokens.rstd[first + token]);
          store_vector(tokens.grad_residual + place, grad, elements);
          if constexpr (drops) {
            grad = grad * dropout.factors(lanes + token * lane_columns + i);
            store_vector(tokens.grad_x + place, grad, elements);
          }
          grad_bias = grad_bias + grad;
        }
        store_vector(tokens.grad_bias + column, grad_bias, elements);
        store_vector(tokens.grad_weight + column, grad_weight, elements);
        store_vector(tokens.grad_norm_bias + column, grad_norm_bias, elements);
      });
    }
  }
}

template <typename Scalar>
void add_norm(const AddNorm<Scalar>& tokens, const TokenMask& mask, int64_t count, int64_t columns, float* scratch) {
  mask.draw.threshold > 0 ? add_norm_tokens<true>(tokens, mask, count, columns, scratch)
                          : add_norm_tokens<false>(tokens, mask, count, columns, scratch);
}

template <typename Scalar>
void add_norm_backward(const AddNormBackward<Scalar>& tokens, const TokenMask& mask, int64_t count, int64_t columns) {
  mask.draw.threshold > 0 ? add_norm_backward_tokens<true>(tokens, mask, count, columns)
                          : add_norm_backward_tokens<false>(tokens, mask, count, columns);
}

}  // namespace
}  // namespace steadytune::kernels::cpu
