#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "core/layers.h"
#include "core/model.h"

/// The embeddings, the parts of a post-norm block and the head, forward and backward written out: everything between
/// two matrix products is one operator, and weights' gradients go straight into the arena. The plain form of the same
/// (core/block.cpp, core/head.cpp) is the reference that these are compared with.
namespace steadytune::fused {

/// What a half has in common with the plain form.
struct Half {
  const Pass& pass;
  /// The block's number in all random keys.
  int64_t number;
  /// Dropout before the residual, 0 where there is none.
  double output_dropout;
  const Norm& norm;
};

struct Attention {
  const Linear& qkv;
  const Linear& output;
  int64_t heads;
  bool causal;
  double probability_dropout;
};

struct CrossAttention {
  const Linear& query;
  const Linear& key_value;
  const Linear& output;
  int64_t heads;
  double probability_dropout;
};

/// XLNet's attention. Weights are [input, output] but for the last, biases and the two segments [heads, d].
struct RelativeAttention {
  /// [3 hidden, heads, d]
  const Leaf& qkv;
  const Leaf& relative;
  const Leaf& output;
  const Leaf& content_bias;
  const Leaf& position_bias;
  const Leaf& segment_bias;
  const Leaf& segment;
  int64_t heads;
  double probability_dropout;
};

struct FeedForward {
  const Linear& intermediate;
  const Linear& output;
  Activation activation;
  double activation_dropout;
};

struct Embeddings {
  const Embedding& word;
  const Embedding& position;
  /// Null where the family has none.
  const Embedding* segment;
  double word_scale;
  const Norm& norm;
  double dropout;
  Site site;
  /// int32 [T]
  at::Tensor word_ids;
  at::ScalarType dtype;
};

struct Head {
  const Linear& dense;
  const Linear& output;
  Activation activation;
  double input_dropout;
  double dropout;
};

/// [T, width] in `dtype`.
at::Tensor embed(const Pass& pass, const Embeddings& embeddings);

/// x [T, hidden] -> [T, hidden]; with `summary_only` [B, hidden], one line per row of the batch: what follows attention
/// is computed for the summary tokens alone. Under a causal mask these must be the last of their rows, which see all.
at::Tensor attend(const Half& half, const Attention& attention, const at::Tensor& x, bool summary_only);

/// x [T, hidden], or [B, hidden] with `summary_only`, and the same out; encoded [T, hidden].
at::Tensor cross_attend(const Half& half, const CrossAttention& attention, const at::Tensor& x,
                        const at::Tensor& encoded, bool summary_only);

/// x [T, hidden], `distances` [2T, hidden] the encodings of PackedBatch::distances -> [T, hidden]; with `summary_only`
/// [B, hidden], and the encodings are those of PackedBatch::summary_distances.
at::Tensor attend_relative(const Half& half, const RelativeAttention& attention, const at::Tensor& x,
                           const at::Tensor& distances, bool summary_only);

/// x [T, hidden], or [B, hidden] with `summary_only`, and the same out.
at::Tensor feed_forward(const Half& half, const FeedForward& network, const at::Tensor& x, bool summary_only);

/// Sets logits, pooled and, where the batch has labels, loss. x [B, hidden], the summary tokens.
void read(const Pass& pass, const Head& head, const at::Tensor& x, Model::Output& output);

}  // namespace steadytune::fused
