#pragma once

#include <cmath>

#include "kernels/cpu/vector_attention.h"

// XLNet's attention of one head over one row: what vector_attention.h does, with two terms more in every score. The
// term of positions is a product with the relative keys in their order of distance, from which each query then reads a
// line that begins one place further left than that of the query before.
namespace steadytune::kernels::cpu {
namespace {

/// The rows of RelativeRow::vectors.
enum RelativeVector { content_bias, position_bias, segment_bias, own_segment, other_segment };
constexpr int64_t relative_vectors = 5;

/// Sizes of one head of one row.
struct RelativeShape {
  RelativeShape(int64_t length, int64_t queries_of_row, int64_t head_size)
      : keys{.length = length, .head_size = head_size},
        queries(queries_of_row),
        distances(length + queries_of_row),
        // Products over a tile's distances, whichever they begin with, are made of whole vectors.
        padded_distances(round_up(distances, width) + width) {}

  HeadShape keys;
  int64_t queries;
  int64_t distances;
  int64_t padded_distances;
};

/// A tile of queries, and the relative keys of its pairs.
struct RelativeTile : Tile {
  template <typename Scalar>
  RelativeTile(const RelativeShape& shape, const RelativeRow<Scalar>& row, int64_t query_begin, int64_t query_end)
      : Tile(shape.keys, row.position + query_begin, row.position + query_end, false),
        first_query(query_begin),
        first_distance(shape.queries - query_begin - queries + 1),
        distances(keys + queries - 1) {}

  /// Where the query of this index finds its first key in a line of the tile's distances.
  int64_t line_begin(int64_t query) const { return queries - 1 - query; }

  /// Among the tokens that ask.
  int64_t first_query;
  int64_t first_distance;
  int64_t distances;
};

/// What both directions need for the scores.
struct ScoreScratch {
  ScoreScratch(const RelativeShape& shape, Scratch& scratch)
      : content_query(scratch.take(shape.keys.tile * shape.keys.padded_head_size)),
        position_query(scratch.take(shape.keys.tile * shape.keys.padded_head_size)),
        key_transposed(scratch.take(shape.keys.padded_head_size * shape.keys.padded_length)),
        relative_transposed(scratch.take(shape.keys.padded_head_size * shape.padded_distances)),
        by_distance(scratch.take(shape.keys.tile * shape.padded_distances)),
        scores(scratch.take(shape.keys.tile * shape.keys.padded_length)),
        mask(shape.keys, scratch) {}

  float* content_query;
  float* position_query;
  float* key_transposed;
  float* relative_transposed;
  float* by_distance;
  float* scores;
  MaskTile mask;
};

struct RelativeForwardScratch {
  RelativeForwardScratch(const RelativeShape& shape, Scratch scratch)
      : of_scores(shape, scratch),
        value(scratch.take(shape.keys.padded_length * shape.keys.padded_head_size)),
        relative(scratch.take(shape.padded_distances * shape.keys.padded_head_size)),
        output(scratch.take(shape.keys.tile * shape.keys.padded_head_size)),
        floats(scratch.used()) {}

  ScoreScratch of_scores;
  float* value;
  float* relative;
  float* output;
  int64_t floats;
};

struct RelativeBackwardScratch {
  RelativeBackwardScratch(const RelativeShape& shape, Scratch scratch)
      : of_scores(shape, scratch),
        grad_output(scratch.take(shape.keys.tile * shape.keys.padded_head_size)),
        key(scratch.take(shape.keys.padded_length * shape.keys.padded_head_size)),
        value_transposed(scratch.take(shape.keys.padded_head_size * shape.keys.padded_length)),
        relative(scratch.take(shape.padded_distances * shape.keys.padded_head_size)),
        grad_scores(scratch.take(shape.keys.tile * shape.keys.padded_length)),
        grad_query(scratch.take(shape.keys.tile * shape.keys.padded_head_size)),
        grad_position(scratch.take(shape.keys.tile * shape.keys.padded_head_size)),
        grad_key(scratch.take(shape.keys.padded_length * shape.keys.padded_head_size)),
        grad_value(scratch.take(shape.keys.padded_length * shape.keys.padded_head_size)),
        grad_relative(scratch.take(shape.padded_distances * shape.keys.padded_head_size)),
        grad_vectors(scratch.take(relative_vectors * shape.keys.padded_head_size)),
        floats(scratch.used()) {}

  ScoreScratch of_scores;
  float* grad_output;
  float* key;
  float* value_transposed;
  float* relative;
  float* grad_scores;
  float* grad_query;
  float* grad_position;
  float* grad_key;
  float* grad_value;
  float* grad_relative;
  float* grad_vectors;
  int64_t floats;
};

/// For rows of at most `length` tokens of which any number asks.
template <typename Scratches>
int64_t relative_scratch_floats(int64_t length, int64_t head_size) {
  return Scratches(RelativeShape(length, length, head_size), Scratch(nullptr)).floats;
}

/// target [rows, target_stride] = factor * (source + bias).
template <typename Scalar>
void pack_biased(const Scalar* source, int64_t source_stride, int64_t rows, int64_t columns, const float* bias,
                 float factor, float* target, int64_t target_stride) {
  for (int64_t row = 0; row < rows; ++row) {
    const Scalar* from = source + row * source_stride;
    float* to = target + row * target_stride;
    for (int64_t column = 0; column < columns; ++column)
      to[column] = factor * (load_float(from[column]) + bias[column]);
    for (int64_t column = columns; column < target_stride; ++column) to[column] = 0.0f;
  }
}

/// Packs the head's relative keys, [padded_distances, padded_head_size], and the same transposed.
template <typename Scalar>
void pack_relative(const RelativeShape& shape, const Scalar* source, int64_t hidden, float* relative,
                   float* transposed) {
  const int64_t padded = shape.keys.padded_head_size;
  pack_rows(source, hidden, shape.distances, shape.keys.head_size, 1.0f, relative, padded);
  zero(relative + shape.distances * padded, (shape.padded_distances - shape.distances) * padded);
  transpose(relative, shape.padded_distances, padded, transposed);
}

/// One head of a row as both directions read it.
template <typename Scalar>
class RelativeHead {
 public:
  RelativeHead(const RelativeRow<Scalar>& row, int64_t head)
      : row_(row),
        hidden_(row.heads * row.head_size),
        first_(head * row.head_size),
        scale_(1.0f / std::sqrt(static_cast<float>(row.head_size))) {}

  int64_t hidden() const { return hidden_; }
  int64_t first_column() const { return first_; }
  float scale() const { return scale_; }
  const float* vector(RelativeVector which) const { return row_.vectors + which * hidden_ + first_; }
  const Scalar* query(int64_t number) const { return row_.query + number * hidden_ + first_; }

  bool own(const RelativeTile& tile, int64_t query, int64_t key) const {
    return row_.segments[tile.begin + query] == row_.segments[key];
  }

  /// scores [queries, padded_keys] of a tile; -inf behind the row's last key.
  void score(const RelativeShape& shape, const RelativeTile& tile, ScoreScratch& scratch) const {
    const HeadShape& keys = shape.keys;
    const int64_t padded = keys.padded_head_size;
    const Scalar* asking = query(tile.first_query);
    pack_biased(asking, hidden_, tile.queries, keys.head_size, vector(content_bias), scale_, scratch.content_query,
                padded);
    pack_biased(asking, hidden_, tile.queries, keys.head_size, vector(position_bias), scale_, scratch.position_query,
                padded);
    cpu::score<FloatOperands>(keys, tile, 1.0f, scratch.content_query, scratch.key_transposed, scratch.scores);
    multiply<false>(tile.queries, round_up(tile.distances, width), keys.head_size, scratch.position_query, padded, 1,
                    scratch.relative_transposed + tile.first_distance, shape.padded_distances, scratch.by_distance,
                    shape.padded_distances);
    for (int64_t i = 0; i < tile.queries; ++i) {
      const float* distance = scratch.by_distance + i * shape.padded_distances + tile.line_begin(i);
      float* scores = scratch.scores + i * keys.padded_length;
      float of_own = 0.0f;
      float of_other = 0.0f;
      for (int64_t column = 0; column < keys.head_size; ++column) {
        const float asked = segment_query(asking + i * hidden_, column);
        of_own += asked * vector(own_segment)[column];
        of_other += asked * vector(other_segment)[column];
      }
      const int32_t segment = row_.segments[tile.begin + i];
      for (int64_t key = 0; key < tile.keys; ++key) {
        scores[key] += distance[key] + (row_.segments[key] == segment ? of_own : of_other);
      }
    }
  }

  float segment_query(const Scalar* asking, int64_t column) const {
    return scale_ * (load_float(asking[column]) + vector(segment_bias)[column]);
  }

 private:
  const RelativeRow<Scalar>& row_;
  int64_t hidden_;
  int64_t first_;
  float scale_;
};

template <typename Scalar>
void relative_forward_head(const RelativeForward<Scalar>& task, int64_t head, Range queries_of_task,
                           const DropoutLanes& dropout, const RelativeShape& shape, RelativeForwardScratch& scratch) {
  const RelativeRow<Scalar>& row = task.row;
  const RelativeHead<Scalar> work(row, head);
  const int64_t hidden = work.hidden();
  const int64_t first = work.first_column();
  ScoreScratch& of_scores = scratch.of_scores;

  // The keys are only needed transposed; the values then take their place.
  pack_transposed<FloatOperands>(shape.keys, row.key + first, hidden, scratch.value, of_scores.key_transposed);
  pack_head<FloatOperands>(shape.keys, row.value + first, hidden, scratch.value);
  pack_relative(shape, row.relative + first, hidden, scratch.relative, of_scores.relative_transposed);

  for (int64_t begin = queries_of_task.begin; begin < queries_of_task.end; begin += shape.keys.tile) {
    const RelativeTile tile(shape, row, begin, queries_of_task.end);
    work.score(shape, tile, of_scores);
    if (dropout.drops()) of_scores.mask.draw(dropout, row.row, head, tile);
    weigh_values<FloatOperands>(shape.keys, tile, dropout.drops() ? &of_scores.mask : nullptr, of_scores.scores,
                                nullptr, scratch.value, scratch.output,
                                task.logsumexp + head * task.logsumexp_stride + begin,
                                task.output + begin * hidden + first, hidden);
  }
}

/// Adds the tile's part to the gradients of the five vectors, and the parts of position and segment to that of the
/// queries. `grad_query` and `grad_position` lack the scale of the scores, and so do the gradients that come of them.
template <typename Scalar>
void add_vector_gradients(const RelativeHead<Scalar>& work, const RelativeShape& shape, const RelativeTile& tile,
                          RelativeBackwardScratch& scratch) {
  const int64_t padded = shape.keys.padded_head_size;
  const int64_t columns = shape.keys.head_size;
  const float scale = work.scale();
  const auto gradient = [&](RelativeVector which) { return scratch.grad_vectors + which * padded; };
  for (int64_t i = 0; i < tile.queries; ++i) {
    const float* grad_scores = scratch.grad_scores + i * shape.keys.padded_length;
    float of_own = 0.0f;
    float of_other = 0.0f;
    for (int64_t key = 0; key < tile.keys; ++key) {
      const bool own = work.own(tile, i, key);
      of_own += own ? grad_scores[key] : 0.0f;
      of_other += own ? 0.0f : grad_scores[key];
    }
    float* grad_query = scratch.grad_query + i * padded;
    const float* grad_position = scratch.grad_position + i * padded;
    const Scalar* asking = work.query(tile.first_query + i);
    for (int64_t column = 0; column < columns; ++column) {
      const float asked = work.segment_query(asking, column);
      const float grad_segment =
          of_own * work.vector(own_segment)[column] + of_other * work.vector(other_segment)[column];
      gradient(content_bias)[column] += scale * grad_query[column];
      gradient(position_bias)[column] += scale * grad_position[column];
      gradient(segment_bias)[column] += scale * grad_segment;
      gradient(own_segment)[column] += of_own * asked;
      gradient(other_segment)[column] += of_other * asked;
      grad_query[column] += grad_position[column] + grad_segment;
    }
  }
}

template <typename Scalar>
void relative_backward_head(const RelativeBackward<Scalar>& task, int64_t head, const DropoutLanes& dropout,
                            const RelativeShape& shape, RelativeBackwardScratch& scratch) {
  const RelativeRow<Scalar>& row = task.row;
  const RelativeHead<Scalar> work(row, head);
  const HeadShape& keys = shape.keys;
  const int64_t hidden = work.hidden();
  const int64_t first = work.first_column();
  const int64_t padded = keys.padded_head_size;
  const int64_t padded_length = keys.padded_length;
  const int64_t padded_distances = shape.padded_distances;
  ScoreScratch& of_scores = scratch.of_scores;
  float* grad_by_distance = of_scores.by_distance;

  // The values are only needed transposed; their gradient then takes the place they were packed in.
  pack_transposed<FloatOperands>(keys, row.value + first, hidden, scratch.grad_value, scratch.value_transposed);
  pack_transposed<FloatOperands>(keys, row.key + first, hidden, scratch.key, of_scores.key_transposed);
  pack_relative(shape, row.relative + first, hidden, scratch.relative, of_scores.relative_transposed);
  zero(scratch.grad_value, keys.length * padded);
  zero(scratch.grad_key, keys.length * padded);
  zero(scratch.grad_relative, shape.distances * padded);
  zero(scratch.grad_vectors, relative_vectors * padded);

  for (int64_t begin = 0; begin < row.queries; begin += keys.tile) {
    const RelativeTile tile(shape, row, begin, row.queries);
    const int64_t queries = tile.queries;
    work.score(shape, tile, of_scores);
    pack_rows(task.grad_output + begin * hidden + first, hidden, queries, keys.head_size, 1.0f, scratch.grad_output,
              padded);
    multiply<false>(queries, tile.padded_keys, keys.head_size, scratch.grad_output, padded, 1, scratch.value_transposed,
                    padded_length, scratch.grad_scores, padded_length);
    if (dropout.drops()) of_scores.mask.draw(dropout, row.row, head, tile);
    softmax_backward_tile(keys, tile, dropout.drops() ? &of_scores.mask : nullptr, of_scores.scores,
                          scratch.grad_scores, task.logsumexp + head * task.logsumexp_stride + begin);
    for (int64_t i = 0; i < queries; ++i) {
      float* line = grad_by_distance + i * padded_distances;
      const float* grads = scratch.grad_scores + i * padded_length;
      zero(line, tile.distances);
      for (int64_t key = 0; key < tile.keys; ++key) line[tile.line_begin(i) + key] = grads[key];
    }
    // The queries were packed with the scale in them, so the gradients of keys are complete; the queries' own are not.
    multiply<true>(tile.keys, padded, queries, of_scores.scores, 1, padded_length, scratch.grad_output, padded,
                   scratch.grad_value, padded);
    multiply<true>(tile.keys, padded, queries, scratch.grad_scores, 1, padded_length, of_scores.content_query, padded,
                   scratch.grad_key, padded);
    multiply<true>(tile.distances, padded, queries, grad_by_distance, 1, padded_distances, of_scores.position_query,
                   padded, scratch.grad_relative + tile.first_distance * padded, padded);
    multiply<false>(queries, padded, tile.keys, scratch.grad_scores, padded_length, 1, scratch.key, padded,
                    scratch.grad_query, padded);
    multiply<false>(queries, padded, tile.distances, grad_by_distance, padded_distances, 1,
                    scratch.relative + tile.first_distance * padded, padded, scratch.grad_position, padded);
    add_vector_gradients(work, shape, tile, scratch);
    unpack_rows(scratch.grad_query, padded, queries, keys.head_size, work.scale(),
                task.grad_query + begin * hidden + first, hidden);
  }
  unpack_rows(scratch.grad_key, padded, keys.length, keys.head_size, 1.0f, task.grad_key + first, hidden);
  unpack_rows(scratch.grad_value, padded, keys.length, keys.head_size, 1.0f, task.grad_value + first, hidden);
  unpack_rows(scratch.grad_relative, padded, shape.distances, keys.head_size, 1.0f, task.grad_relative + first, hidden);
  unpack_rows(scratch.grad_vectors, padded, relative_vectors, keys.head_size, 1.0f, task.grad_vectors + first, hidden);
}

template <typename Scalar>
void relative_attention(const RelativeForward<Scalar>& task, Range heads, Range queries, const DropoutDraw& draw,
                        float* scratch_begin) {
  const RelativeShape shape(task.row.length, task.row.queries, task.row.head_size);
  RelativeForwardScratch scratch(shape, Scratch(scratch_begin));
  const DropoutLanes dropout(draw);
  for (int64_t head = heads.begin; head < heads.end; ++head) {
    relative_forward_head(task, head, queries, dropout, shape, scratch);
  }
}

template <typename Scalar>
void relative_attention_backward(const RelativeBackward<Scalar>& task, Range heads, const DropoutDraw& draw,
                                 float* scratch_begin) {
  const RelativeShape shape(task.row.length, task.row.queries, task.row.head_size);
  RelativeBackwardScratch scratch(shape, Scratch(scratch_begin));
  const DropoutLanes dropout(draw);
  for (int64_t head = heads.begin; head < heads.end; ++head) {
    relative_backward_head(task, head, dropout, shape, scratch);
  }
}

}  // namespace
}  // namespace steadytune::kernels::cpu
