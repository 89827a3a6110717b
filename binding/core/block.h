#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

#include "core/encoder_shape.h"
#include "core/layers.h"
#include "core/parameter_list.h"

namespace steadytune {

/// Where a block stands: the prefix of its parameters' names ("blocks.3.") and its number in all random keys.
struct BlockPlace {
  std::string prefix;
  int64_t number;
};

/// Attention of a row's tokens among themselves, then dropout, residual and LayerNorm.
class SelfAttention {
 public:
  static void list(ParameterList& list, const BlockPlace& place, int64_t hidden);
  SelfAttention(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place, int64_t heads);

  /// x [T, hidden]. Causal: a token sees none behind it. With `summary_only` (fused alone) the answer is [B, hidden];
  /// under a causal mask the summary tokens must be the last of their rows.
  at::Tensor operator()(const Pass& pass, const at::Tensor& x, bool causal, bool summary_only) const;

 private:
  const EncoderShape& shape_;
  int64_t number_;
  int64_t heads_;
  Linear qkv_;
  Linear output_;
  Norm norm_;
};

/// Attention of a decoder's tokens to the encoder's tokens of the same row. Both have the same number of tokens, since
/// a classifier's decoder reads the encoder's input, moved by one place.
class CrossAttention {
 public:
  static void list(ParameterList& list, const BlockPlace& place, int64_t hidden);
  CrossAttention(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place, int64_t heads);

  /// x and encoded [T, hidden]; x [B, hidden] with `summary_only` (fused alone).
  at::Tensor operator()(const Pass& pass, const at::Tensor& x, const at::Tensor& encoded, bool summary_only) const;

 private:
  const EncoderShape& shape_;
  int64_t number_;
  int64_t heads_;
  Linear query_;
  Linear key_value_;
  Linear output_;
  Norm norm_;
};

/// The two-layer network of a block, then dropout, residual and LayerNorm.
class FeedForward {
 public:
  static void list(ParameterList& list, const BlockPlace& place, int64_t hidden, int64_t intermediate);
  FeedForward(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place);

  /// x [T, hidden] or, with `summary_only`, [B, hidden].
  at::Tensor operator()(const Pass& pass, const at::Tensor& x, bool summary_only) const;

 private:
  const EncoderShape& shape_;
  int64_t number_;
  Linear intermediate_;
  Linear output_;
  Norm norm_;
};

/// The post-norm block of the plain encoders and of BART's encoder.
struct Block {
  static void list(ParameterList& list, const BlockPlace& place, int64_t hidden, int64_t intermediate);
  Block(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place);

  at::Tensor operator()(const Pass& pass, const at::Tensor& x, bool summary_only) const {
    return ffn(pass, attention(pass, x, false, summary_only), summary_only);
  }

  SelfAttention attention;
  FeedForward ffn;
};

/// "blocks.3." for block 3 of an encoder.
BlockPlace encoder_block(int64_t number);

}  // namespace steadytune
