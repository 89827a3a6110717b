#pragma once

#include <optional>
#include <vector>

#include "core/block.h"
#include "core/head.h"
#include "core/model.h"

namespace steadytune {

/// XLNet's content stream, which is all that fine-tuning uses: relative positions and segments inside attention, no
/// table of positions, and the last token (<cls>) as the summary.
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

    /// x [T, hidden], positions [2 T, hidden]: the encodings of PackedBatch::distances. With `summary_only` (fused
    /// alone) the answer is [B, hidden].
    at::Tensor operator()(const Pass& pass, const at::Tensor& x, const at::Tensor& positions, bool summary_only) const;

   private:
    at::Tensor attend_rows(const Pass& pass, const at::Tensor& x, const at::Tensor& positions) const;
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
