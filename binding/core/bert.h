#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/encoder_shape.h"
#include "core/packed_batch.h"

namespace steadytune {

/// Which masks of dropout and mixout a forward pass draws: their keys begin with the seed, their counters with the
/// step.
struct DropoutKey {
  int64_t seed = 0;
  int64_t step = 0;
  /// False: no dropout anywhere.
  bool active = false;
  /// False: weights are multiplied with as they are, whatever their plan.
  bool mixing = false;
  /// The part of the step that the pass is for: each has mixout masks of its own.
  int64_t micro_batch = 0;
};

/// BERT with a pooler and one linear head, written with plain ATen operators between matrix products: the reference
/// that faster engines are compared with. Every token-wise tensor is [T, width]; no padding exists.
class Bert {
 public:
  struct Output {
    at::Tensor logits;                      // float32 [B, outputs]
    at::Tensor pooled;                      // float32 [B, hidden], before dropout
    std::vector<at::Tensor> hidden_states;  // layers + 1 of [T, hidden]; empty unless asked for
  };

  static std::vector<ParameterInfo> parameters(const EncoderShape& shape);

  /// `compute` is float32 or bfloat16: the dtype of the blocks' matrix products and activations. Embeddings,
  /// LayerNorm weights, pooler, classifier and the loss stay float32.
  Bert(const EncoderShape& shape, Arena& arena, at::ScalarType compute);

  /// Ties the leaves to the arena's gradient buffer; a leaf whose parameters are all frozen gets none.
  void train_parameters(const std::vector<bool>& frozen);

  /// Sets which weights are mixed with their start values, which the arena keeps for as long as it is so.
  void mix_parameters(const std::vector<ParameterPlan>& plan);

  /// `stop` is looked at between blocks; when it is set the pass ends with ERR_ABORTED.
  Output forward(const PackedBatch& batch, const DropoutKey& dropout, bool keep_hidden_states,
                 const std::atomic<bool>& stop) const;

 private:
  struct Mixing {
    at::Tensor target;
    /// One for each of the joined parameters; 0 for those that are not mixed.
    std::vector<double> p;
    Mixout how;
    RandomPlace place;
  };
  /// A leaf of the autograd graph: a view of the master values, with `.grad` a view of the arena's gradients.
  struct Leaf {
    size_t index;
    size_t count;
    at::Tensor value;
    std::optional<Mixing> mixing = std::nullopt;
  };
  struct Linear {
    Leaf weight;
    Leaf bias;
  };
  struct Norm {
    Leaf weight;
    Leaf bias;
  };
  struct Block {
    Linear qkv;
    Linear attention_output;
    Norm attention_norm;
    Linear intermediate;
    Linear ffn_output;
    Norm ffn_norm;
  };

  Leaf leaf(const std::string& name, size_t count = 1) const;
  Linear linear(const std::string& name, size_t count = 1) const;
  Norm norm(const std::string& name) const;
  void for_each_leaf(const std::function<void(Leaf&)>& visit);

  at::Tensor lookup(const Leaf& table, const at::Tensor& ids) const;
  at::Tensor weight(const Leaf& leaf, at::ScalarType dtype, const DropoutKey& masks) const;
  at::Tensor apply(const Linear& linear, const at::Tensor& x, const DropoutKey& masks) const;
  at::Tensor apply(const Norm& norm, const at::Tensor& x) const;
  at::Tensor embed(const PackedBatch& batch, const DropoutKey& dropout) const;
  at::Tensor run_block(int64_t layer, const at::Tensor& x, const PackedBatch& batch, const DropoutKey& dropout) const;

  EncoderShape shape_;
  Arena& arena_;
  at::ScalarType compute_;
  Leaf word_;
  Leaf position_;
  Leaf segment_;
  Norm embedding_norm_;
  std::vector<Block> blocks_;
  Linear pooler_;
  Linear classifier_;
};

}  // namespace steadytune
