#include "core/encoder.h"

#include "core/fused.h"

namespace steadytune {

void Encoder::list(ParameterList& list, const EncoderShape& shape) {
  const int64_t width = shape.embedding_size;
  list.embedding("embeddings.word", shape.vocabulary_size, width);
  list.embedding("embeddings.position", shape.position_offset + shape.max_positions, width);
  if (shape.segment_types > 0) list.embedding("embeddings.segment", shape.segment_types, width);
  list.norm("embeddings.norm", width);
  if (width != shape.hidden_size) list.linear("embeddings.projection", shape.hidden_size, width, Role::embedding);
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    Block::list(list, encoder_block(layer), shape.hidden_size, shape.intermediate_size);
  }
  Head::list(list, shape);
}

Encoder::Encoder(const EncoderShape& shape, Arena& arena, at::ScalarType compute, Form form)
    : Model(arena, form),
      shape_(shape),
      compute_(compute),
      word_(leaves_, "embeddings.word"),
      position_(leaves_, "embeddings.position"),
      embedding_norm_(leaves_, "embeddings.norm", shape.layer_norm_eps),
      head_(leaves_, shape) {
  if (shape.segment_types > 0) segment_.emplace(leaves_, "embeddings.segment");
  if (shape.embedding_size != shape.hidden_size) projection_.emplace(leaves_, "embeddings.projection");
  for (int64_t layer = 0; layer < shape.layers; ++layer) blocks_.emplace_back(leaves_, shape, encoder_block(layer));
}

at::Tensor Encoder::embed(const Pass& pass) const {
  const at::Tensor embedded = pass.form == Form::fused ? fused_embeddings(pass) : plain_embeddings(pass);
  return projection_ ? (*projection_)(pass, embedded) : embedded;
}

at::Tensor Encoder::fused_embeddings(const Pass& pass) const {
  return fused::embed(pass, {
                                .word = word_,
                                .position = position_,
                                .segment = segment_ ? &*segment_ : nullptr,
                                .word_scale = 1,
                                .norm = embedding_norm_,
                                .dropout = shape_.hidden_dropout,
                                .site = Site::embeddings,
                                .word_ids = pass.batch.token_ids,
                                .dtype = compute_,
                            });
}

at::Tensor Encoder::plain_embeddings(const Pass& pass) const {
  const PackedBatch& batch = pass.batch;
  at::Tensor sum = word_(batch.token_ids);
  if (segment_) sum = sum + (*segment_)(batch.segment_ids);
  sum = sum + position_(batch.position_ids);
  return drop_tokens(pass, embedding_norm_(sum), shape_.hidden_dropout, 0, Site::embeddings).to(compute_);
}

Model::Output Encoder::forward(const Pass& pass, bool keep_hidden_states) const {
  Output output;
  at::Tensor x = embed(pass);
  if (keep_hidden_states) output.hidden_states.push_back(x);
  // The head reads one token of each row, so the last block need not compute the others.
  const bool summary_only = pass.form == Form::fused && !keep_hidden_states;
  for (const Block& block : blocks_) {
    pass.check_stop();
    x = block(pass, x, summary_only && &block == &blocks_.back());
    if (keep_hidden_states) output.hidden_states.push_back(x);
  }
  pass.check_stop();
  head_.read(pass, x, summary_only, output);
  return output;
}

}  // namespace steadytune
