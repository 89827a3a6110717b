#include "core/block.h"

#include <tuple>

#include "core/fused.h"
#include "core/operators.h"

namespace steadytune {
namespace {

at::Tensor attend(const Pass& pass, const at::Tensor& qkv, int64_t heads, bool causal, double p, int64_t layer,
                  Site site) {
  const auto& [batch, draws, stop, form] = pass;
  return std::get<0>(operators::packed_attention(qkv, batch.row_offsets, batch.row_numbers, heads, causal,
                                                 draws.dropout ? p : 0, draws.seed, layer, static_cast<int64_t>(site),
                                                 draws.step, draws.counter));
}

}  // namespace

BlockPlace encoder_block(int64_t number) { return {"blocks." + std::to_string(number) + ".", number}; }

void SelfAttention::list(ParameterList& list, const BlockPlace& place, int64_t hidden) {
  const std::string prefix = place.prefix + "attention.";
  list.joined_linears(prefix, {"query", "key", "value"}, hidden, hidden, Role::attention, place.number);
  list.linear(prefix + "output", hidden, hidden, Role::attention, place.number);
  list.norm(prefix + "norm", hidden, place.number);
}

SelfAttention::SelfAttention(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place, int64_t heads)
    : shape_(shape),
      number_(place.number),
      heads_(heads),
      qkv_(leaves, place.prefix + "attention.query", 3),
      output_(leaves, place.prefix + "attention.output"),
      norm_(leaves, place.prefix + "attention.norm", shape.layer_norm_eps) {
  leaves.write_whole(qkv_.weight);
  leaves.write_whole(output_.weight);
}

at::Tensor SelfAttention::operator()(const Pass& pass, const at::Tensor& x, bool causal, bool summary_only) const {
  const double p = shape_.switches().attention_output_dropout ? shape_.hidden_dropout : 0;
  if (causal && summary_only && !shape_.switches().summary_last) {
    throw Error("ERR_INTERNAL", "summary tokens that do not see their whole row were asked of causal attention");
  }
  if (pass.form == Form::fused) {
    return fused::attend({pass, number_, p, norm_}, {qkv_, output_, heads_, causal, shape_.attention_dropout}, x,
                         summary_only);
  }
  const at::Tensor context =
      attend(pass, qkv_(pass, x), heads_, causal, shape_.attention_dropout, number_, Site::attention_probabilities);
  return norm_(x + drop_tokens(pass, output_(pass, context), p, number_, Site::attention_output));
}

void CrossAttention::list(ParameterList& list, const BlockPlace& place, int64_t hidden) {
  const std::string prefix = place.prefix + "crossAttention.";
  list.linear(prefix + "query", hidden, hidden, Role::attention, place.number);
  list.joined_linears(prefix, {"key", "value"}, hidden, hidden, Role::attention, place.number);
  list.linear(prefix + "output", hidden, hidden, Role::attention, place.number);
  list.norm(prefix + "norm", hidden, place.number);
}

CrossAttention::CrossAttention(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place, int64_t heads)
    : shape_(shape),
      number_(place.number),
      heads_(heads),
      query_(leaves, place.prefix + "crossAttention.query"),
      key_value_(leaves, place.prefix + "crossAttention.key", 2),
      output_(leaves, place.prefix + "crossAttention.output"),
      norm_(leaves, place.prefix + "crossAttention.norm", shape.layer_norm_eps) {
  leaves.write_whole(query_.weight);
  leaves.write_whole(key_value_.weight);
  leaves.write_whole(output_.weight);
}

at::Tensor CrossAttention::operator()(const Pass& pass, const at::Tensor& x, const at::Tensor& encoded,
                                      bool summary_only) const {
  if (pass.form == Form::fused) {
    return fused::cross_attend({pass, number_, shape_.hidden_dropout, norm_},
                               {query_, key_value_, output_, heads_, shape_.attention_dropout}, x, encoded,
                               summary_only);
  }
  const at::Tensor qkv = at::cat({query_(pass, x), key_value_(pass, encoded)}, 1);
  const at::Tensor context =
      attend(pass, qkv, heads_, false, shape_.attention_dropout, number_, Site::cross_attention_probabilities);
  return norm_(x +
               drop_tokens(pass, output_(pass, context), shape_.hidden_dropout, number_, Site::cross_attention_output));
}

void FeedForward::list(ParameterList& list, const BlockPlace& place, int64_t hidden, int64_t intermediate) {
  list.linear(place.prefix + "ffn.intermediate", intermediate, hidden, Role::ffn, place.number);
  list.linear(place.prefix + "ffn.output", hidden, intermediate, Role::ffn, place.number);
  list.norm(place.prefix + "ffn.norm", hidden, place.number);
}

FeedForward::FeedForward(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place)
    : shape_(shape),
      number_(place.number),
      intermediate_(leaves, place.prefix + "ffn.intermediate"),
      output_(leaves, place.prefix + "ffn.output"),
      norm_(leaves, place.prefix + "ffn.norm", shape.layer_norm_eps) {
  leaves.write_whole(intermediate_.weight);
  leaves.write_whole(output_.weight);
}

at::Tensor FeedForward::operator()(const Pass& pass, const at::Tensor& x, bool summary_only) const {
  if (pass.form == Form::fused) {
    return fused::feed_forward({pass, number_, shape_.hidden_dropout, norm_},
                               {intermediate_, output_, shape_.activation, shape_.activation_dropout}, x, summary_only);
  }
  const at::Tensor activated = activate(shape_.activation, intermediate_(pass, x));
  const at::Tensor kept = drop_tokens(pass, activated, shape_.activation_dropout, number_, Site::ffn_activation);
  return norm_(x + drop_tokens(pass, output_(pass, kept), shape_.hidden_dropout, number_, Site::ffn_output));
}

void Block::list(ParameterList& list, const BlockPlace& place, int64_t hidden, int64_t intermediate) {
  SelfAttention::list(list, place, hidden);
  FeedForward::list(list, place, hidden, intermediate);
}

Block::Block(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place)
    : attention(leaves, shape, place, shape.heads), ffn(leaves, shape, place) {}

}  // namespace steadytune
