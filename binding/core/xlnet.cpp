#include "core/xlnet.h"

#include <cmath>
#include <string>

#include "core/fused.h"
#include "core/operators.h"
#include "kernels/dropout.h"
#include "kernels/tokens.h"

namespace steadytune {
namespace {

/// Dropout on attention probabilities [heads, n, n] of one row: the masks of packed_attention.
at::Tensor drop_probabilities(const Pass& pass, const at::Tensor& x, int64_t row, double p, int64_t layer) {
  const auto& [batch, draws, stop, form] = pass;
  if (!draws.dropout || p == 0) return x;
  const int64_t heads = x.size(0);
  const int64_t length = x.size(1);
  // attention_place(head, query) of each line.
  const at::Tensor places = (at::arange(heads, batch.row_numbers.options()).unsqueeze(1) * (1 << 16) +
                             at::arange(length, batch.row_numbers.options()))
                                .view(-1);
  const at::Tensor rows = batch.row_numbers[row].expand({heads * length}).contiguous();
  return operators::dropout(x.reshape({heads * length, length}), rows, places, p, draws.seed, layer,
                            static_cast<int64_t>(Site::attention_probabilities), draws.step, draws.counter)
      .view({heads, length, length});
}

/// From x[i, m] by distance (m = n - (i - j)) to x[i, j]: [heads, n, 2n] to [heads, n, n].
at::Tensor shift(const at::Tensor& by_distance) {
  const int64_t heads = by_distance.size(0);
  const int64_t length = by_distance.size(1);
  return by_distance.reshape({heads, 2 * length, length})
      .narrow(1, 1, 2 * length - 1)
      .reshape({heads, length, 2 * length - 1})
      .narrow(2, 0, length);
}

}  // namespace

void Xlnet::RelativeAttention::list(ParameterList& list, const EncoderShape& shape, const BlockPlace& place) {
  const std::string prefix = place.prefix + "attention.";
  const int64_t hidden = shape.hidden_size;
  const std::vector<int64_t> heads{shape.heads, hidden / shape.heads};
  const std::vector<int64_t> matrix{hidden, heads[0], heads[1]};
  for (const char* part : {"query", "key", "value", "output", "relative"}) {
    const bool joined = part == std::string("key") || part == std::string("value");
    list.add(prefix + part + ".weight", matrix, Role::attention, Kind::weight, place.number, joined);
  }
  for (const char* part : {"content", "position", "segment"}) {
    list.add(prefix + part + ".bias", heads, Role::attention, Kind::bias, place.number);
  }
  list.add(prefix + "segment.weight", {2, heads[0], heads[1]}, Role::embedding, Kind::weight, place.number);
  list.norm(prefix + "norm", hidden, place.number);
}

Xlnet::RelativeAttention::RelativeAttention(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place)
    : shape_(shape),
      number_(place.number),
      qkv_(leaves.add(place.prefix + "attention.query.weight", 3)),
      output_(leaves.add(place.prefix + "attention.output.weight")),
      relative_(leaves.add(place.prefix + "attention.relative.weight")),
      content_bias_(leaves.add(place.prefix + "attention.content.bias")),
      position_bias_(leaves.add(place.prefix + "attention.position.bias")),
      segment_bias_(leaves.add(place.prefix + "attention.segment.bias")),
      segment_(leaves.add(place.prefix + "attention.segment.weight")),
      norm_(leaves, place.prefix + "attention.norm", shape.layer_norm_eps) {
  leaves.write_whole(qkv_);
  leaves.write_whole(output_);
  leaves.write_whole(relative_);
}

at::Tensor Xlnet::RelativeAttention::attend_row(const Pass& pass, int64_t row, const at::Tensor& qkv,
                                                const at::Tensor& relative) const {
  const PackedBatch& batch = pass.batch;
  const auto offsets = batch.host_row_offsets.accessor<int32_t, 1>();
  const int64_t begin = offsets[row];
  const int64_t length = offsets[row + 1] - begin;
  const auto dtype = qkv.scalar_type();
  // [heads, n, d] each
  const auto part = [&](int64_t which) { return qkv[which].narrow(0, begin, length).transpose(0, 1); };
  const auto biased = [&](const Leaf& bias) { return part(0) + bias.value.to(dtype).unsqueeze(1); };
  const at::Tensor distances = relative.narrow(0, 2 * begin, 2 * length).transpose(0, 1);

  const at::Tensor content = at::matmul(biased(content_bias_), part(1).transpose(1, 2));
  const at::Tensor position = shift(at::matmul(biased(position_bias_), distances.transpose(1, 2)));
  const at::Tensor segments = batch.segment_ids.narrow(0, begin, length);
  const at::Tensor differs = segments.unsqueeze(1).ne(segments.unsqueeze(0)).to(dtype);  // [n, n]
  // [heads, n, 2]: a query's score for keys of its own segment and of another one.
  const at::Tensor by_segment = at::matmul(biased(segment_bias_), segment_.value.to(dtype).permute({1, 2, 0}));
  const at::Tensor same = by_segment.narrow(2, 0, 1);
  const at::Tensor segment = same + differs * (by_segment.narrow(2, 1, 1) - same);

  const double scale = 1.0 / std::sqrt(static_cast<double>(shape_.hidden_size / shape_.heads));
  const at::Tensor probabilities = at::softmax(((content + position + segment) * scale).to(at::kFloat), -1).to(dtype);
  const at::Tensor kept = drop_probabilities(pass, probabilities, row, shape_.attention_dropout, number_);
  return at::matmul(kept, part(2)).transpose(0, 1).reshape({length, shape_.hidden_size});
}

/// Row by row, before dropout, residual and norm.
at::Tensor Xlnet::RelativeAttention::attend_rows(const Pass& pass, const at::Tensor& x,
                                                 const at::Tensor& positions) const {
  const auto dtype = x.scalar_type();
  const int64_t hidden = shape_.hidden_size;
  const int64_t head_size = hidden / shape_.heads;
  const at::Tensor qkv =
      at::matmul(x, qkv_.value.to(dtype).view({3, hidden, hidden})).view({3, x.size(0), shape_.heads, head_size});
  const at::Tensor relative = at::matmul(positions, relative_.value.to(dtype).view({hidden, hidden}))
                                  .view({positions.size(0), shape_.heads, head_size});
  std::vector<at::Tensor> rows;
  for (int64_t row = 0; row < pass.batch.rows(); ++row) rows.push_back(attend_row(pass, row, qkv, relative));
  return at::linear(at::cat(rows), output_.value.to(dtype).view({hidden, hidden}));
}

at::Tensor Xlnet::RelativeAttention::operator()(const Pass& pass, const at::Tensor& x, const at::Tensor& positions,
                                                bool summary_only) const {
  if (pass.form == Form::fused) {
    const at::Tensor distances = summary_only ? positions.index_select(0, pass.batch.summary_distances) : positions;
    return fused::attend_relative({pass, number_, shape_.hidden_dropout, norm_},
                                  {qkv_, relative_, output_, content_bias_, position_bias_, segment_bias_, segment_,
                                   shape_.heads, shape_.attention_dropout},
                                  x, distances, summary_only);
  }
  const at::Tensor attended = attend_rows(pass, x, positions);
  return norm_(x + drop_tokens(pass, attended, shape_.hidden_dropout, number_, Site::attention_output));
}

void Xlnet::list(ParameterList& list, const EncoderShape& shape) {
  list.embedding("embeddings.word", shape.vocabulary_size, shape.hidden_size);
  // The query stream's first input. Nothing here reads it; it is kept for the checkpoint.
  list.add("embeddings.mask.weight", {1, 1, shape.hidden_size}, Role::embedding, Kind::weight);
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const BlockPlace place = encoder_block(layer);
    RelativeAttention::list(list, shape, place);
    FeedForward::list(list, place, shape.hidden_size, shape.intermediate_size);
  }
  Head::list(list, shape);
}

Xlnet::Xlnet(const EncoderShape& shape, Arena& arena, at::ScalarType compute, Form form)
    : Model(arena, form), shape_(shape), compute_(compute), word_(leaves_, "embeddings.word"), head_(leaves_, shape) {
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const BlockPlace place = encoder_block(layer);
    blocks_.push_back({RelativeAttention(leaves_, shape, place), FeedForward(leaves_, shape, place)});
  }
}

/// Sines and cosines of the distances in each row, with dropout; [2 T, hidden].
at::Tensor Xlnet::encode_positions(const Pass& pass) const {
  const auto& [batch, draws, stop, form] = pass;
  const at::Tensor distances = batch.distances.to(at::kFloat).unsqueeze(1);
  const at::Tensor exponents = at::arange(0, shape_.hidden_size, 2, distances.options()) / shape_.hidden_size;
  const at::Tensor angles = distances * at::pow(10000.0, exponents).reciprocal();
  const at::Tensor encodings =
      operators::dropout(at::cat({at::sin(angles), at::cos(angles)}, 1), batch.distance_rows, batch.distance_places,
                         draws.dropout ? shape_.hidden_dropout : 0, draws.seed, 0,
                         static_cast<int64_t>(Site::relative_positions), draws.step, draws.counter);
  at::Tensor tokens = kernels::empty_tokens(encodings.size(0), encodings.size(1), encodings.options().dtype(compute_));
  return tokens.copy_(encodings);
}

Model::Output Xlnet::forward(const Pass& pass, bool keep_hidden_states) const {
  Output output;
  at::Tensor x =
      drop_tokens(pass, word_(pass.batch.token_ids), shape_.hidden_dropout, 0, Site::embeddings).to(compute_);
  const at::Tensor positions = encode_positions(pass);
  // The head reads one token of each row, so the last block need not compute the others.
  const bool summary_only = pass.form == Form::fused && !keep_hidden_states;
  if (keep_hidden_states) output.hidden_states.push_back(x);
  for (const RelativeBlock& block : blocks_) {
    pass.check_stop();
    const bool summary = summary_only && &block == &blocks_.back();
    x = block.attention(pass, x, positions, summary);
    x = block.ffn(pass, x, summary);
    if (keep_hidden_states) output.hidden_states.push_back(x);
  }
  pass.check_stop();
  head_.read(pass, x, summary_only, output);
  return output;
}

}  // namespace steadytune
