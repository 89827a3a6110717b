#include "core/bart.h"

#include <string>

#include "core/fused.h"

namespace steadytune {
namespace {

BlockPlace decoder_block(const EncoderShape& shape, int64_t layer) {
  return {"decoder." + std::to_string(layer) + ".", shape.layers + layer};
}

}  // namespace

Bart::DecoderBlock::DecoderBlock(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place)
    : attention(leaves, shape, place, shape.decoder->heads),
      cross_attention(leaves, shape, place, shape.decoder->heads),
      ffn(leaves, shape, place) {}

void Bart::list(ParameterList& list, const EncoderShape& shape) {
  const int64_t hidden = shape.hidden_size;
  const int64_t positions = shape.position_offset + shape.max_positions;
  list.embedding("embeddings.word", shape.vocabulary_size, hidden);
  list.embedding("embeddings.position", positions, hidden);
  list.norm("embeddings.norm", hidden);
  list.embedding("embeddings.decoderPosition", positions, hidden);
  list.norm("embeddings.decoderNorm", hidden);
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    Block::list(list, encoder_block(layer), hidden, shape.intermediate_size);
  }
  for (int64_t layer = 0; layer < shape.decoder->layers; ++layer) {
    const BlockPlace place = decoder_block(shape, layer);
    SelfAttention::list(list, place, hidden);
    CrossAttention::list(list, place, hidden);
    FeedForward::list(list, place, hidden, shape.decoder->intermediate_size);
  }
  Head::list(list, shape);
}

Bart::Bart(const EncoderShape& shape, Arena& arena, at::ScalarType compute, Form form)
    : Model(arena, form),
      shape_(shape),
      compute_(compute),
      word_(leaves_, "embeddings.word"),
      position_(leaves_, "embeddings.position"),
      embedding_norm_(leaves_, "embeddings.norm", shape.layer_norm_eps),
      decoder_position_(leaves_, "embeddings.decoderPosition"),
      decoder_embedding_norm_(leaves_, "embeddings.decoderNorm", shape.layer_norm_eps),
      head_(leaves_, shape) {
  for (int64_t layer = 0; layer < shape.layers; ++layer) blocks_.emplace_back(leaves_, shape, encoder_block(layer));
  for (int64_t layer = 0; layer < shape.decoder->layers; ++layer) {
    decoder_blocks_.emplace_back(leaves_, shape, decoder_block(shape, layer));
  }
}

at::Tensor Bart::embed(const Pass& pass, const at::Tensor& ids, const Embedding& position, const Norm& norm,
                       Site site) const {
  if (pass.form == Form::fused) {
    return fused::embed(pass, {
                                  .word = word_,
                                  .position = position,
                                  .segment = nullptr,
                                  .word_scale = shape_.embedding_scale,
                                  .norm = norm,
                                  .dropout = shape_.hidden_dropout,
                                  .site = site,
                                  .word_ids = ids,
                                  .dtype = compute_,
                              });
  }
  const at::Tensor sum = word_(ids) * shape_.embedding_scale + position(pass.batch.position_ids);
  return drop_tokens(pass, norm(sum), shape_.hidden_dropout, 0, site).to(compute_);
}

Model::Output Bart::forward(const Pass& pass, bool keep_hidden_states) const {
  Output output;
  const auto keep = [&](const at::Tensor& x) {
    if (keep_hidden_states) output.hidden_states.push_back(x);
  };
  const PackedBatch& batch = pass.batch;
  // The head reads one token of each row, the last, so the last block need not compute the others.
  const bool summary_only = pass.form == Form::fused && !keep_hidden_states;
  at::Tensor encoded = embed(pass, batch.token_ids, position_, embedding_norm_, Site::embeddings);
  keep(encoded);
  for (const Block& block : blocks_) {
    pass.check_stop();
    encoded = block(pass, encoded, false);
    keep(encoded);
  }
  at::Tensor x = embed(pass, batch.decoder_ids, decoder_position_, decoder_embedding_norm_, Site::decoder_embeddings);
  keep(x);
  for (const DecoderBlock& block : decoder_blocks_) {
    pass.check_stop();
    const bool summary = summary_only && &block == &decoder_blocks_.back();
    x = block.attention(pass, x, true, summary);
    x = block.cross_attention(pass, x, encoded, summary);
    x = block.ffn(pass, x, summary);
    keep(x);
  }
  pass.check_stop();
  head_.read(pass, x, summary_only, output);
  return output;
}

}  // namespace steadytune
