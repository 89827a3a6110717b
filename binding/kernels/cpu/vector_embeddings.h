#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/cpu/vector_norm.h"

namespace steadytune::kernels::cpu {
namespace {

template <bool drops, typename Scalar>
void embed_tokens(const Embed<Scalar>& tokens, const TokenMask& mask, int64_t count, int64_t columns) {
  const TokenLanes dropout(mask);
  uint16_t lanes[lane_columns];
  const EmbeddingTables<const float*>& tables = tokens.tables;
  const EmbeddingRows& rows = tokens.rows;
  for (int64_t token = 0; token < count; ++token) {
    const int64_t start = token * columns;
    const float* word = tables.word + rows.word[token] * columns;
    const float* position = tables.position + rows.position[token] * columns;
    const float* segment = tables.segment == nullptr ? nullptr : tables.segment + rows.segment[token] * columns;
    // The sum waits where its normalized form will stand.
    float* sums = tokens.normalized + start;
    Vec total(0.0f);
    for_each_vector(columns, [&](int64_t i, auto elements) {
      Vec value = load_vector(word + i, elements) * Vec(tokens.word_scale);
      if (segment != nullptr) value = value + load_vector(segment + i, elements);
      value = value + load_vector(position + i, elements);
      total = total + first_lanes(value, elements);
      store_vector(sums + i, value, elements);
    });
    const float mean = sum_of(total) / static_cast<float>(columns);
    Vec squares(0.0f);
    for_each_vector(columns, [&](int64_t i, auto elements) {
      const Vec distance = first_lanes(load_vector(sums + i, elements) - Vec(mean), elements);
      squares = at::vec::fmadd(distance, distance, squares);
    });
    const float rstd = 1.0f / std::sqrt(sum_of(squares) / static_cast<float>(columns) + tokens.eps);
    tokens.rstd[token] = rstd;
    for (int64_t begin = 0; begin < columns; begin += lane_columns) {
      const int64_t size = std::min(lane_columns, columns - begin);
      if constexpr (drops) {
        dropout.draw(token, begin, size, lanes);
      }
      for_each_vector(size, [&](int64_t i, auto elements) {
        const int64_t column = begin + i;
        const Vec normalized = (load_vector(sums + column, elements) - Vec(mean)) * Vec(rstd);
        store_vector(sums + column, normalized, elements);
        Vec y = at::vec::fmadd(normalized, load_vector(tokens.weight + column, elements),
                               load_vector(tokens.norm_bias + column, elements));
        if constexpr (drops) {
          y = y * dropout.factors(lanes + i);
        }
        store_vector(tokens.y + start + column, y, elements);
      });
    }
  }
}

/// The gradient of the sum; what is dropout_add_norm's backward with the mask in front of LayerNorm.
template <bool drops, typename Scalar>
void embed_backward_tokens(const EmbedBackward<Scalar>& tokens, const TokenMask& mask, int64_t count, int64_t columns) {
  const TokenLanes dropout(mask);
  uint16_t lanes[lane_columns];
  zero(tokens.grad_weight, columns);
  zero(tokens.grad_norm_bias, columns);
  for (int64_t token = 0; token < count; ++token) {
    const int64_t start = token * columns;
    float* grads = tokens.grad_sum + start;
    const float* saved = tokens.normalized + start;
    Vec sum(0.0f);
    Vec products(0.0f);
    for (int64_t begin = 0; begin < columns; begin += lane_columns) {
      const int64_t size = std::min(lane_columns, columns - begin);
      if constexpr (drops) {
        dropout.draw(token, begin, size, lanes);
      }
      for_each_vector(size, [&](int64_t i, auto elements) {
        const int64_t column = begin + i;
        Vec grad_y = load_vector(tokens.grad_y + start + column, elements);
        if constexpr (drops) {
          grad_y = grad_y * dropout.factors(lanes + i);
        }
        const Vec normalized = load_vector(saved + column, elements);
        store_vector(tokens.grad_norm_bias + column, load_vector(tokens.grad_norm_bias + column, elements) + grad_y,
                     elements);
        store_vector(tokens.grad_weight + column,
                     at::vec::fmadd(grad_y, normalized, load_vector(tokens.grad_weight + column, elements)), elements);
        const Vec scaled = grad_y * load_vector(tokens.weight + column, elements);
        sum = sum + scaled;
        products = at::vec::fmadd(scaled, normalized, products);
        store_vector(grads + column, scaled, elements);
      });
    }
    const Vec mean(sum_of(sum) / static_cast<float>(columns));
    const Vec slope(sum_of(products) / static_cast<float>(columns));
    for_each_vector(columns, [&](int64_t i, auto elements) {
      const Vec spread = at::vec::fmadd(load_vector(saved + i, elements), slope, mean);
      store_vector(grads + i, (load_vector(grads + i, elements) - spread) * Vec(tokens.rstd[token]), elements);
    });
  }
}

template <typename Scalar>
void embed(const Embed<Scalar>& tokens, const TokenMask& mask, int64_t count, int64_t columns) {
  mask.draw.threshold > 0 ? embed_tokens<true>(tokens, mask, count, columns)
                          : embed_tokens<false>(tokens, mask, count, columns);
}

template <typename Scalar>
void embed_backward(const EmbedBackward<Scalar>& tokens, const TokenMask& mask, int64_t count, int64_t columns) {
  mask.draw.threshold > 0 ? embed_backward_tokens<true>(tokens, mask, count, columns)
                          : embed_backward_tokens<false>(tokens, mask, count, columns);
}

}  // namespace
}  // namespace steadytune::kernels::cpu
