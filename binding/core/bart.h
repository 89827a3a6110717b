#pragma once

#include <vector>

#include "core/block.h"
#include "core/head.h"
#include "core/model.h"

namespace steadytune {

/// BART for sequence classification: the decoder reads the encoder's input moved by one place, and the head its output
/// at the last token, </s>. Blocks are numbered through, the encoder's first.
class Bart : public Model {
 public:
  static void list(ParameterList& list, const EncoderShape& shape);
  Bart(const EncoderShape& shape, Arena& arena, at::ScalarType compute, Form form);

  Output forward(const Pass& pass, bool keep_hidden_states) const override;

 private:
  struct DecoderBlock {
    DecoderBlock(Leaves& leaves, const EncoderShape& shape, const BlockPlace& place);

    SelfAttention attention;
    CrossAttention cross_attention;
    FeedForward ffn;
  };

  at::Tensor embed(const Pass& pass, const at::Tensor& ids, const Embedding& position, const Norm& norm,
                   Site site) const;

  const EncoderShape& shape_;
  at::ScalarType compute_;
  /// One table serves encoder and decoder.
  Embedding word_;
  Embedding position_;
  Norm embedding_norm_;
  Embedding decoder_position_;
  Norm decoder_embedding_norm_;
  std::vector<Block> blocks_;
  std::vector<DecoderBlock> decoder_blocks_;
  Head head_;
};

}  // namespace steadytune
