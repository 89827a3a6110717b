#pragma once

#include <cmath>
#include <limits>
#include <tuple>

#include "kernels/cpu/vector_attention.h"
#include "kernels/cpu/vector_elements.h"

// Attention of a single query of each row: no matrices are left of it, so keys and values are read where they lie.
namespace steadytune::kernels::cpu {
namespace {

struct SummaryScratch {
  SummaryScratch(const HeadShape& shape, Scratch scratch)
      : scores(scratch.take(shape.padded_length)),
        grad_scores(scratch.take(shape.padded_length)),
        factors(scratch.take(shape.padded_length)),
        lanes(reinterpret_cast<uint16_t*>(scratch.take(padded_blocks(shape) * dropout_block_columns / 2))),
        place(reinterpret_cast<uint32_t*>(scratch.take(padded_blocks(shape)))),
        block(reinterpret_cast<uint32_t*>(scratch.take(padded_blocks(shape)))),
        floats(scratch.used()) {}

  static int64_t padded_blocks(const HeadShape& shape) {
    return round_up(shape.padded_length / dropout_block_columns, 16);
  }

  float* scores;
  float* grad_scores;
  float* factors;
  uint16_t* lanes;
  uint32_t* place;
  uint32_t* block;
  int64_t floats;
};

inline int64_t summary_scratch_floats(int64_t length, int64_t head_size) {
  return SummaryScratch({.length = length, .head_size = head_size}, Scratch(nullptr)).floats;
}

/// 0 or the scale for each key of the row, behind them zero.
template <typename Scalar>
void draw_factors(const SummaryRow<Scalar>& row, int64_t head, const DropoutLanes& dropout, const HeadShape& shape,
                  SummaryScratch& scratch) {
  const int64_t blocks = (row.length + dropout_block_columns - 1) / dropout_block_columns;
  for (int64_t i = 0; i < SummaryScratch::padded_blocks(shape); ++i) {
    scratch.place[i] = attention_place(static_cast<uint32_t>(head), row.position);
    scratch.block[i] = static_cast<uint32_t>(i);
  }
  dropout.draw(row.row, scratch.place, scratch.block, blocks, scratch.lanes);
  float* factors = scratch.factors;
  dropout.for_each_factor(scratch.lanes, row.length, [&](int64_t key, float factor) { factors[key] = factor; });
  zero(factors + row.length, shape.padded_length - row.length);
}

template <typename Scalar>
float dot(const Scalar* a, const Scalar* b, int64_t count) {
  Vec sum(0.0f);
  for_each_vector(count, [&](int64_t i, auto elements) {
    sum = at::vec::fmadd(load_vector(a + i, elements), load_vector(b + i, elements), sum);
  });
  return sum_of(sum);
}

/// scores[key] = scale query . key, and -inf behind the last.
template <typename Scalar>
void score_keys(const SummaryRow<Scalar>& row, int64_t head, float scale, const HeadShape& shape, float* scores) {
  const int64_t stride = 2 * row.heads * row.head_size;
  const Scalar* query = row.query + head * row.head_size;
  const Scalar* key = row.key_value + head * row.head_size;
  for (int64_t i = 0; i < row.length; ++i) scores[i] = scale * dot(query, key + i * stride, row.head_size);
  for (int64_t i = row.length; i < shape.padded_length; ++i) scores[i] = -std::numeric_limits<float>::infinity();
}

template <typename Scalar>
void summary_attention(const SummaryForward<Scalar>& task, Range heads, const DropoutDraw& draw, float* scratch_begin) {
  const SummaryRow<Scalar>& row = task.row;
  const HeadShape shape{.length = row.length, .head_size = row.head_size};
  SummaryScratch scratch(shape, Scratch(scratch_begin));
  const DropoutLanes dropout(draw);
  const int64_t hidden = row.heads * row.head_size;
  const float scale = 1.0f / std::sqrt(static_cast<float>(row.head_size));
  for (int64_t head = heads.begin; head < heads.end; ++head) {
    score_keys(row, head, scale, shape, scratch.scores);
    if (dropout.drops()) draw_factors(row, head, dropout, shape, scratch);
    const auto [largest, sum] = dropout.drops()
                                    ? exponentials<true>(scratch.scores, scratch.factors, shape.padded_length)
                                    : exponentials<false>(scratch.scores, nullptr, shape.padded_length);
    task.logsumexp[head * task.logsumexp_stride] = largest + std::log(sum);
    const Scalar* value = row.key_value + hidden + head * row.head_size;
    Scalar* output = task.output + head * row.head_size;
    for_each_vector(row.head_size, [&](int64_t column, auto elements) {
      Vec total(0.0f);
      for (int64_t key = 0; key < row.length; ++key) {
        total =
            at::vec::fmadd(Vec(scratch.scores[key]), load_vector(value + key * 2 * hidden + column, elements), total);
      }
      store_vector(output + column, total * Vec(1.0f / sum), elements);
    });
  }
}

template <typename Scalar>
void summary_attention_backward(const SummaryBackward<Scalar>& task, Range heads, const DropoutDraw& draw,
                                float* scratch_begin) {
  const SummaryRow<Scalar>& row = task.row;
  const HeadShape shape{.length = row.length, .head_size = row.head_size};
  SummaryScratch scratch(shape, Scratch(scratch_begin));
  const DropoutLanes dropout(draw);
  const int64_t hidden = row.heads * row.head_size;
  const int64_t stride = 2 * hidden;
  const float scale = 1.0f / std::sqrt(static_cast<float>(row.head_size));
  for (int64_t head = heads.begin; head < heads.end; ++head) {
    const int64_t first = head * row.head_size;
    const Scalar* query = row.query + first;
    const Scalar* key = row.key_value + first;
    const Scalar* value = row.key_value + hidden + first;
    const Scalar* grad_output = task.grad_output + first;
    score_keys(row, head, scale, shape, scratch.scores);
    for (int64_t i = 0; i < row.length; ++i) {
      scratch.grad_scores[i] = dot(grad_output, value + i * stride, row.head_size);
    }
    zero(scratch.grad_scores + row.length, shape.padded_length - row.length);
    const float logsumexp = task.logsumexp[head * task.logsumexp_stride];
    if (dropout.drops()) {
      draw_factors(row, head, dropout, shape, scratch);
      softmax_backward<true>(scratch.scores, scratch.grad_scores, scratch.factors, logsumexp, shape.padded_length);
    } else {
      softmax_backward<false>(scratch.scores, scratch.grad_scores, nullptr, logsumexp, shape.padded_length);
    }
    Scalar* grad_key = task.grad_key_value + first;
    Scalar* grad_value = task.grad_key_value + hidden + first;
    for_each_vector(row.head_size, [&](int64_t column, auto elements) {
      const Vec scaled_query = load_vector(query + column, elements) * Vec(scale);
      const Vec grad = load_vector(grad_output + column, elements);
      Vec grad_query(0.0f);
      for (int64_t i = 0; i < row.length; ++i) {
        const Vec grad_score(scratch.grad_scores[i]);
        grad_query = at::vec::fmadd(grad_score, load_vector(key + i * stride + column, elements), grad_query);
        store_vector(grad_key + i * stride + column, grad_score * scaled_query, elements);
        store_vector(grad_value + i * stride + column, Vec(scratch.scores[i]) * grad, elements);
      }
      store_vector(task.grad_query + first + column, grad_query * Vec(scale), elements);
    });
  }
}

}  // namespace
}  // namespace steadytune::kernels::cpu
