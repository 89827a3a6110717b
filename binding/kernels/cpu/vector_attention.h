#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "kernels/cpu/vector_dropout_lanes.h"
#include "kernels/cpu/vector_operands.h"

// Attention of one head over one row, with sums and softmax in float32. Queries go in tiles whose scores against every
// key of the row are held at once, so the softmax needs no second pass and no [length, length] buffer exists. Operands
// are first packed into contiguous, padded scratch: tokens lie up to 3 * hidden elements apart, which is unkind to
// caches and pages.
namespace steadytune::kernels::cpu {
namespace {

/// Hands out pieces of scratch, each on a 64-byte boundary. Without memory it only counts.
class Scratch {
 public:
  explicit Scratch(float* begin) : begin_(begin) {}
  float* take(int64_t floats) {
    float* piece = begin_ == nullptr ? nullptr : begin_ + used_;
    used_ += round_up(floats, 16);
    return piece;
  }
  int64_t used() const { return used_; }

 private:
  float* begin_;
  int64_t used_ = 0;
};

/// Sizes of one head of one row, with both axes padded to whole vectors of elements.
struct HeadShape {
  int64_t length;
  int64_t head_size;
  /// Numbers that make one element of its operands.
  int64_t numbers = 1;
  int64_t padded_length = round_up(length, width);
  int64_t padded_head_size = round_up(head_size, numbers* width);
  int64_t tile = std::min(attention_tile(length), length);
};

/// A tile of queries and the keys that any of them sees: all of the row, or under a causal mask those up to the last
/// query. Buffers of the tile keep the stride of the whole row.
struct Tile {
  Tile(const HeadShape& shape, int64_t query_begin, int64_t query_end, bool causal_mask)
      : begin(query_begin),
        queries(std::min(shape.tile, query_end - query_begin)),
        keys(causal_mask ? begin + queries : shape.length),
        padded_keys(round_up(keys, width)),
        causal(causal_mask) {}

  /// Keys that the tile's query of this index sees.
  int64_t seen(int64_t query) const { return causal ? begin + query + 1 : keys; }

  int64_t begin;
  int64_t queries;
  int64_t keys;
  int64_t padded_keys;
  bool causal;
};

/// Factors of dropout on the probabilities of a tile of queries, [tile, padded_length]: 0 or the scale.
class MaskTile {
 public:
  MaskTile(const HeadShape& shape, Scratch& scratch)
      : shape_(shape),
        factors_(scratch.take(shape.tile * shape.padded_length)),
        // Lanes are 16 bits wide, the counters 32; a last batch of Philox blocks may run over the end.
        lanes_(reinterpret_cast<uint16_t*>(scratch.take(padded_blocks() * dropout_block_columns / 2))),
        place_(reinterpret_cast<uint32_t*>(scratch.take(padded_blocks()))),
        block_(reinterpret_cast<uint32_t*>(scratch.take(padded_blocks()))) {}

  void draw(const DropoutLanes& dropout, uint32_t row, int64_t head, const Tile& tile) {
    const int64_t queries = tile.queries;
    const int64_t blocks = mask_blocks(tile.keys);
    for (int64_t query = 0; query < queries; ++query) {
      const uint32_t place = attention_place(static_cast<uint32_t>(head), static_cast<uint32_t>(tile.begin + query));
      for (int64_t block = 0; block < blocks; ++block) {
        place_[query * blocks + block] = place;
        block_[query * blocks + block] = static_cast<uint32_t>(block);
      }
    }
    for (int64_t i = queries * blocks; i < round_up(queries * blocks, philox_batch); ++i) {
      place_[i] = block_[i] = 0;
    }
    dropout.draw(row, place_, block_, queries * blocks, lanes_);
    const int64_t drawn = blocks * dropout_block_columns;
    for (int64_t query = 0; query < queries; ++query) {
      float* factors = factors_ + query * shape_.padded_length;
      dropout.for_each_factor(lanes_ + query * drawn, drawn, [&](int64_t key, float factor) { factors[key] = factor; });
      zero(factors + drawn, tile.padded_keys - drawn);
    }
  }

  const float* of(int64_t query) const { return factors_ + query * shape_.padded_length; }

 private:
  static int64_t mask_blocks(int64_t keys) { return (keys + dropout_block_columns - 1) / dropout_block_columns; }
  int64_t padded_blocks() const { return round_up(shape_.tile * mask_blocks(shape_.length), 16); }

  const HeadShape& shape_;
  float* factors_;
  uint16_t* lanes_;
  uint32_t* place_;
  uint32_t* block_;
};

template <typename Operands>
typename Operands::Element* take_elements(Scratch& scratch, int64_t elements) {
  return reinterpret_cast<typename Operands::Element*>(scratch.take(elements));
}

/// Room for a factor that has a form of its own; where all forms are one there is none.
template <typename Operands>
typename Operands::Element* take_form(Scratch& scratch, int64_t elements) {
  return take_elements<Operands>(scratch, Operands::numbers == 1 ? 0 : elements);
}

/// How many elements the forms of a head's operands take.
template <typename Operands>
struct OperandSizes {
  explicit OperandSizes(const HeadShape& shape)
      : tokens_along(shape.padded_length * elements_of<Operands>(shape.padded_head_size)),
        tokens_down(elements_of<Operands>(shape.padded_length) * shape.padded_head_size),
        tile_along(shape.tile * elements_of<Operands>(shape.padded_head_size)),
        tile_down(elements_of<Operands>(shape.tile) * shape.padded_head_size),
        scores_along(shape.tile * elements_of<Operands>(shape.padded_length)),
        scores_down(elements_of<Operands>(shape.tile) * shape.padded_length) {}

  int64_t tokens_along;
  int64_t tokens_down;
  int64_t tile_along;
  int64_t tile_down;
  int64_t scores_along;
  int64_t scores_down;
};

template <typename Operands>
struct ForwardScratch {
  using Element = typename Operands::Element;

  ForwardScratch(const HeadShape& shape, Scratch scratch)
      : ForwardScratch(shape, OperandSizes<Operands>(shape), scratch) {}

  ForwardScratch(const HeadShape& shape, const OperandSizes<Operands>& sizes, Scratch& scratch)
      : query(take_elements<Operands>(scratch, sizes.tile_along)),
        packed(take_elements<Operands>(scratch, sizes.tokens_along)),
        key_transposed(take_elements<Operands>(scratch, sizes.tokens_along)),
        value_down(take_form<Operands>(scratch, sizes.tokens_down)),
        weights(take_form<Operands>(scratch, sizes.scores_along)),
        scores(scratch.take(shape.tile * shape.padded_length)),
        output(scratch.take(shape.tile * shape.padded_head_size)),
        mask(shape, scratch),
        floats(scratch.used()) {}

  Element* query;
  Element* packed;
  Element* key_transposed;
  Element* value_down;
  Element* weights;
  float* scores;
  float* output;
  MaskTile mask;
  int64_t floats;
};

template <typename Operands>
struct BackwardScratch {
  using Element = typename Operands::Element;

  BackwardScratch(const HeadShape& shape, Scratch scratch)
      : BackwardScratch(shape, OperandSizes<Operands>(shape), scratch) {}

  BackwardScratch(const HeadShape& shape, const OperandSizes<Operands>& sizes, Scratch& scratch)
      : query(take_elements<Operands>(scratch, sizes.tile_along)),
        query_down(take_form<Operands>(scratch, sizes.tile_down)),
        grad_output(take_elements<Operands>(scratch, sizes.tile_along)),
        grad_output_down(take_form<Operands>(scratch, sizes.tile_down)),
        packed(take_elements<Operands>(scratch, sizes.tokens_along)),
        key_transposed(take_elements<Operands>(scratch, sizes.tokens_along)),
        key_down(take_form<Operands>(scratch, sizes.tokens_down)),
        value_transposed(take_elements<Operands>(scratch, sizes.tokens_along)),
        weights_down(take_form<Operands>(scratch, sizes.scores_down)),
        grad_scores_along(take_form<Operands>(scratch, sizes.scores_along)),
        grad_scores_down(take_form<Operands>(scratch, sizes.scores_down)),
        grad_query(scratch.take(shape.tile * shape.padded_head_size)),
        grad_key(scratch.take(shape.padded_length * shape.padded_head_size)),
        grad_value(scratch.take(shape.padded_length * shape.padded_head_size)),
        scores(scratch.take(shape.tile * shape.padded_length)),
        grad_scores(scratch.take(shape.tile * shape.padded_length)),
        mask(shape, scratch),
        floats(scratch.used()) {}

  Element* query;
  Element* query_down;
  Element* grad_output;
  Element* grad_output_down;
  Element* packed;
  Element* key_transposed;
  Element* key_down;
  Element* value_transposed;
  Element* weights_down;
  Element* grad_scores_along;
  Element* grad_scores_down;
  float* grad_query;
  float* grad_key;
  float* grad_value;
  float* scores;
  float* grad_scores;
  MaskTile mask;
  int64_t floats;
};

template <template <typename> typename Scratches, typename Scalar>
int64_t scratch_floats(int64_t length, int64_t head_size) {
  using Operands = OperandsOf<Scalar>;
  const HeadShape shape{.length = length, .head_size = head_size, .numbers = Operands::numbers};
  return Scratches<Operands>(shape, Scratch(nullptr)).floats;
}

/// Packs one operand of all tokens of a head, [padded_length, padded_head_size] along.
template <typename Operands, typename Scalar>
void pack_head(const HeadShape& shape, const Scalar* source, int64_t stride, typename Operands::Element* target) {
  Operands::pack(source, stride, shape.length, shape.head_size, target, shape.padded_head_size);
  const int64_t line = elements_of<Operands>(shape.padded_head_size);
  for (int64_t i = shape.length * line; i < shape.padded_length * line; ++i) target[i] = 0;
}

/// Packs the keys or the values of a head and transposes them, [padded_head_size, padded_length] with their numbers
/// down.
template <typename Operands, typename Scalar>
void pack_transposed(const HeadShape& shape, const Scalar* source, int64_t stride, typename Operands::Element* packed,
                     typename Operands::Element* transposed) {
  pack_head<Operands>(shape, source, stride, packed);
  // Elements are moved and not looked into.
  static_assert(sizeof(typename Operands::Element) == sizeof(float));
  transpose(reinterpret_cast<const float*>(packed), shape.padded_length, elements_of<Operands>(shape.padded_head_size),
            reinterpret_cast<float*>(transposed));
}

/// scores [queries, padded_keys] = scale * query key^T; keys that a query does not see get -inf, so that they weigh
/// nothing.
template <typename Operands>
void score(const HeadShape& shape, const Tile& tile, float scale, const typename Operands::Element* query,
           const typename Operands::Element* key_transposed, float* scores) {
  multiply<false, Operands>(tile.queries, tile.padded_keys, elements_of<Operands>(shape.head_size), query,
                            elements_of<Operands>(shape.padded_head_size), 1, key_transposed, shape.padded_length,
                            scores, shape.padded_length, scale);
  for (int64_t i = 0; i < tile.queries; ++i) {
    for (int64_t key = tile.seen(i); key < tile.padded_keys; ++key) {
      scores[i * shape.padded_length + key] = -std::numeric_limits<float>::infinity();
    }
  }
}

inline float largest_of(const Vec& values) {
  return at::vec::vec_reduce_all<float>([](const Vec& a, const Vec& b) { return at::vec::maximum(a, b); }, values);
}

/// Turns a row of scores into exp(score - largest), masked by `factors` where given. Returns {largest, sum of the
/// unmasked exponentials}.
template <bool masked>
std::pair<float, float> exponentials(float* scores, const float* factors, int64_t padded_keys) {
  Vec largest(-std::numeric_limits<float>::infinity());
  for (int64_t key = 0; key < padded_keys; key += width) {
    largest = at::vec::maximum(largest, Vec::loadu(scores + key));
  }
  const float shift = largest_of(largest);
  Vec sum(0.0f);
  for (int64_t key = 0; key < padded_keys; key += width) {
    Vec weight = (Vec::loadu(scores + key) - Vec(shift)).exp_u20();
    sum = sum + weight;
    if constexpr (masked) {
      weight = weight * Vec::loadu(factors + key);
    }
    weight.store(scores + key);
  }
  // exp_u20 turns NaN into a number; this turns the row back into NaN.
  return {shift, sum_of(sum) + 0.0f * shift};
}

/// From scores and gradients of the masked probabilities to masked probabilities (for the gradient of the values) and
/// gradients of the scores, in place: dS = P (mask dP - sum(P mask dP)). The sum is taken from the row itself rather
/// than from output . grad_output as flash attention does: then the row of dS sums to zero up to float32 rounding even
/// where the output was rounded to bfloat16.
template <bool masked>
void softmax_backward(float* scores, float* grad_scores, const float* factors, float logsumexp, int64_t padded_keys) {
  Vec products(0.0f);
  for (int64_t key = 0; key < padded_keys; key += width) {
    const Vec probability = (Vec::loadu(scores + key) - Vec(logsumexp)).exp_u20();
    Vec grad = Vec::loadu(grad_scores + key);
    if constexpr (masked) {
      grad = grad * Vec::loadu(factors + key);
      grad.store(grad_scores + key);
    }
    products = at::vec::fmadd(probability, grad, products);
    probability.store(scores + key);
  }
  // As in the forward: what is not finite must stay so.
  const Vec mean(sum_of(products) + 0.0f * logsumexp);
  for (int64_t key = 0; key < padded_keys; key += width) {
    const Vec probability = Vec::loadu(scores + key);
    (probability * (Vec::loadu(grad_scores + key) - mean)).store(grad_scores + key);
    if constexpr (masked) {
      (probability * Vec::loadu(factors + key)).store(scores + key);
    }
  }
}

/// From a tile's scores to the logarithms of its denominators and its output, `hidden` elements from query to query.
/// `weights` is room for them along, `value_down` all values of the head.
template <typename Operands, typename Scalar>
void weigh_values(const HeadShape& shape, const Tile& tile, const MaskTile* mask, float* scores,
                  typename Operands::Element* weights, const typename Operands::Element* value_down,
                  float* scratch_output, float* logsumexp, Scalar* output, int64_t hidden) {
  float largest[max_attention_tile];
  float sums[max_attention_tile];
  for (int64_t query = 0; query < tile.queries; ++query) {
    float* of_query = scores + query * shape.padded_length;
    std::tie(largest[query], sums[query]) = mask != nullptr
                                                ? exponentials<true>(of_query, mask->of(query), tile.padded_keys)
                                                : exponentials<false>(of_query, nullptr, tile.padded_keys);
  }
  for (int64_t query = 0; query < tile.queries; query += width) {
    const int64_t size = std::min(width, tile.queries - query);
    (Vec::loadu(largest + query, size) + Vec::loadu(sums + query, size).log()).store(logsumexp + query, size);
  }
  const int64_t padded = shape.padded_head_size;
  multiply<false, Operands>(tile.queries, padded, elements_of<Operands>(tile.keys),
                            Operands::along(scores, shape.padded_length, tile.queries, tile.padded_keys, weights),
                            elements_of<Operands>(shape.padded_length), 1, value_down, padded, scratch_output, padded);
  for (int64_t query = 0; query < tile.queries; ++query) {
    unpack_rows(scratch_output + query * padded, padded, 1, shape.head_size, 1.0f / sums[query],
                output + query * hidden, hidden);
  }
}

/// softmax_backward for every query of a tile.
inline void softmax_backward_tile(const HeadShape& shape, const Tile& tile, const MaskTile* mask, float* scores,
                                  float* grad_scores, const float* logsumexp) {
  for (int64_t query = 0; query < tile.queries; ++query) {
    const int64_t line = query * shape.padded_length;
    if (mask != nullptr) {
      softmax_backward<true>(scores + line, grad_scores + line, mask->of(query), logsumexp[query], tile.padded_keys);
    } else {
      softmax_backward<false>(scores + line, grad_scores + line, nullptr, logsumexp[query], tile.padded_keys);
    }
  }
}

template <typename Scalar, typename Operands = OperandsOf<Scalar>>
void attention_forward_head(const AttentionForward<Scalar>& task, int64_t head, Range queries_of_task,
                            const DropoutLanes& dropout, const HeadShape& shape, ForwardScratch<Operands>& scratch) {
  const AttentionRow<Scalar>& row = task.row;
  const int64_t hidden = row.heads * row.head_size;
  const int64_t padded = shape.padded_head_size;
  const Scalar* key = row.key_value + head * row.head_size;
  const float scale = 1.0f / std::sqrt(static_cast<float>(row.head_size));
  const bool masked = dropout.drops();

  // The keys are only needed transposed; the values then take their place.
  pack_transposed<Operands>(shape, key, row.key_value_stride, scratch.packed, scratch.key_transposed);
  pack_head<Operands>(shape, key + hidden, row.key_value_stride, scratch.packed);
  const auto* value_down = Operands::turn(scratch.packed, shape.padded_length, padded, scratch.value_down);

  for (int64_t begin = queries_of_task.begin; begin < queries_of_task.end; begin += shape.tile) {
    const Tile tile(shape, begin, queries_of_task.end, row.causal);
    Operands::pack(row.query + begin * row.query_stride + head * row.head_size, row.query_stride, tile.queries,
                   shape.head_size, scratch.query, padded);
    score<Operands>(shape, tile, scale, scratch.query, scratch.key_transposed, scratch.scores);
    if (masked) {
      scratch.mask.draw(dropout, row.row, head, tile);
    }
    weigh_values<Operands>(shape, tile, masked ? &scratch.mask : nullptr, scratch.scores, scratch.weights, value_down,
                           scratch.output, task.logsumexp + head * task.logsumexp_stride + begin,
                           task.output + begin * hidden + head * row.head_size, hidden);
  }
}

template <typename Scalar, typename Operands = OperandsOf<Scalar>>
void attention_backward_head(const AttentionBackward<Scalar>& task, int64_t head, const DropoutLanes& dropout,
                             const HeadShape& shape, BackwardScratch<Operands>& scratch) {
  const AttentionRow<Scalar>& row = task.row;
  const int64_t hidden = row.heads * row.head_size;
  const int64_t padded = shape.padded_head_size;
  const int64_t padded_length = shape.padded_length;
  const int64_t first = head * row.head_size;
  const Scalar* key = row.key_value + first;
  const Scalar* grad_output = task.grad_output + first;
  const float scale = 1.0f / std::sqrt(static_cast<float>(row.head_size));
  const bool masked = dropout.drops();

  // The values are only needed transposed; the keys then take their place.
  pack_transposed<Operands>(shape, key + hidden, row.key_value_stride, scratch.packed, scratch.value_transposed);
  pack_transposed<Operands>(shape, key, row.key_value_stride, scratch.packed, scratch.key_transposed);
  const auto* key_down = Operands::turn(scratch.packed, padded_length, padded, scratch.key_down);
  zero(scratch.grad_value, shape.length * padded);
  zero(scratch.grad_key, shape.length * padded);

  for (int64_t begin = 0; begin < shape.length; begin += shape.tile) {
    const Tile tile(shape, begin, shape.length, row.causal);
    const int64_t queries = tile.queries;
    Operands::pack(row.query + begin * row.query_stride + first, row.query_stride, queries, shape.head_size,
                   scratch.query, padded);
    Operands::pack(grad_output + begin * hidden, hidden, queries, shape.head_size, scratch.grad_output, padded);
    score<Operands>(shape, tile, scale, scratch.query, scratch.key_transposed, scratch.scores);
    multiply<false, Operands>(queries, tile.padded_keys, elements_of<Operands>(shape.head_size), scratch.grad_output,
                              elements_of<Operands>(padded), 1, scratch.value_transposed, padded_length,
                              scratch.grad_scores, padded_length);
    if (masked) {
      scratch.mask.draw(dropout, row.row, head, tile);
    }
    softmax_backward_tile(shape, tile, masked ? &scratch.mask : nullptr, scratch.scores, scratch.grad_scores,
                          task.logsumexp + head * task.logsumexp_stride + begin);

    const auto turned = [&](const auto* along, auto* place) { return Operands::turn(along, queries, padded, place); };
    const auto down = [&](const float* scores, auto* place) {
      return Operands::down(scores, padded_length, queries, tile.padded_keys, place);
    };
    const int64_t pairs = elements_of<Operands>(queries);
    multiply<true, Operands>(tile.keys, padded, pairs, down(scratch.scores, scratch.weights_down), 1, padded_length,
                             turned(scratch.grad_output, scratch.grad_output_down), padded, scratch.grad_value, padded);
    multiply<true, Operands>(tile.keys, padded, pairs, down(scratch.grad_scores, scratch.grad_scores_down), 1,
                             padded_length, turned(scratch.query, scratch.query_down), padded, scratch.grad_key,
                             padded);
    multiply<false, Operands>(
        queries, padded, elements_of<Operands>(tile.keys),
        Operands::along(scratch.grad_scores, padded_length, queries, tile.padded_keys, scratch.grad_scores_along),
        elements_of<Operands>(padded_length), 1, key_down, padded, scratch.grad_query, padded);
    unpack_rows(scratch.grad_query, padded, queries, shape.head_size, scale,
                task.grad_query + begin * row.query_stride + first, row.query_stride);
  }
  Scalar* grad_key = task.grad_key_value + first;
  unpack_rows(scratch.grad_key, padded, shape.length, shape.head_size, scale, grad_key, row.key_value_stride);
  unpack_rows(scratch.grad_value, padded, shape.length, shape.head_size, 1.0f, grad_key + hidden, row.key_value_stride);
}

template <typename Scalar>
HeadShape head_shape(const AttentionRow<Scalar>& row) {
  return {.length = row.length, .head_size = row.head_size, .numbers = OperandsOf<Scalar>::numbers};
}

template <typename Scalar>
void attention_forward(const AttentionForward<Scalar>& task, Range heads, Range queries, const DropoutDraw& draw,
                       float* scratch_begin) {
  const HeadShape shape = head_shape(task.row);
  ForwardScratch<OperandsOf<Scalar>> scratch(shape, Scratch(scratch_begin));
  const DropoutLanes dropout(draw);
  for (int64_t head = heads.begin; head < heads.end; ++head) {
    attention_forward_head(task, head, queries, dropout, shape, scratch);
  }
}

template <typename Scalar>
void attention_backward(const AttentionBackward<Scalar>& task, Range heads, const DropoutDraw& draw,
                        float* scratch_begin) {
  const HeadShape shape = head_shape(task.row);
  BackwardScratch<OperandsOf<Scalar>> scratch(shape, Scratch(scratch_begin));
  const DropoutLanes dropout(draw);
  for (int64_t head = heads.begin; head < heads.end; ++head) {
    attention_backward_head(task, head, dropout, shape, scratch);
  }
}

}  // namespace
}  // namespace steadytune::kernels::cpu
