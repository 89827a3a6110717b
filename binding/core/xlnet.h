#pragma once

#include <optional>
#include <vector>

#include "core/block.h"
#include "core/head.h"
#include "core/model.h"

namespace steadytune {

/// XLNet's content stream, which is all that fine-tuning uses: relative positions and segments inside attention, no
/// table of positions, and the last token (<cls>) as the summary. Attention is written row by row with plain operators.
class Xlnet : public Model {
 public:
  static void list(ParameterList& list, const EncoderShape& shape);
  Xlnet(const EncoderShape& shape, Arena& arena, at::ScalarType compute, Form form);

  Output forward(const Pass& pass, bool keep_hidden_states) const override;

 private:
  /// Transformer-XL's attention with XLNet's segment term.
  class RelativeAttention {
   public:
    static void list(ParameterList& list, const EncoderShape& shape, const BlockPlace& place);
    RelativeAttention(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place);

    /// x [T, hidden], positions [2 T, hidden]: the encodings of the distances n .. -(n - 1) of each row of n tokens.
    at::Tensor operator()(const Pass& pass, const at::Tensor& x, const at::Tensor& positions) const;

   private:
    at::Tensor attend_row(const Pass& pass, int64_t row, const at::Tensor& qkv, const at::Tensor& relative) const;

    const EncoderShape& shape_;
    int64_t number_;
    const Leaf& qkv_;       // [3 hidden, heads, d], input before output
    const Leaf& output_;    // [hidden, heads, d]
    const Leaf& relative_;  // [hidden, heads, d]
    const Leaf& content_bias_;
    const Leaf& position_bias_;
    const Leaf& segment_bias_;
    const Leaf& segment_;  // [2, heads, d]: same segment, another one
    Norm norm_;
  };
  struct RelativeBlock {
    RelativeAttention attention;
    FeedForward ffn;
  };

  at::Tensor encode_positions(const Pass& pass) const;

  const EncoderShape& shape_;
  at::ScalarType compute_;
  Embedding word_;
  std::vector<RelativeBlock> blocks_;
  Head head_;
};

}  // namespace steadytune
