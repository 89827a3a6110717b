#pragma once

#include <optional>
#include <vector>

#include "core/block.h"
#include "core/head.h"
#include "core/model.h"

namespace steadytune {

/// The plain encoders: BERT, RoBERTa (and XLM-R), ELECTRA, DistilBERT. Their shapes and FamilySwitches say all that
/// differs.
class Encoder : public Model {
 public:
  static void list(ParameterList& list, const EncoderShape& shape);
  Encoder(const EncoderShape& shape, Arena& arena, at::ScalarType compute, Form form);

  Output forward(const Pass& pass, bool keep_hidden_states) const override;

 private:
  at::Tensor embed(const Pass& pass) const;
  at::Tensor fused_embeddings(const Pass& pass) const;
  at::Tensor plain_embeddings(const Pass& pass) const;

  const EncoderShape& shape_;
  at::ScalarType compute_;
  Embedding word_;
  Embedding position_;
  std::optional<Embedding> segment_;
  Norm embedding_norm_;
  std::optional<Linear> projection_;
  std::vector<Block> blocks_;
  Head head_;
};

}  // namespace steadytune
