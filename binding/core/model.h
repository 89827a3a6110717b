#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "core/arena.h"
#include "core/encoder_shape.h"
#include "core/leaves.h"
#include "core/pass.h"

namespace steadytune {

/// An encoder with its head over one arena.
class Model {
 public:
  struct Output {
    at::Tensor logits;                      // float32 [B, outputs]
    at::Tensor pooled;                      // float32 [B, hidden], what the logits are made of, so behind any dropout
    at::Tensor loss;                        // float32 [], sum over the rows; undefined without labels
    std::vector<at::Tensor> hidden_states;  // each [T, hidden]; empty unless asked for
  };

  /// In arena order.
  static std::vector<ParameterInfo> parameters(const EncoderShape& shape);

  /// `compute` is float32 or bfloat16: the dtype of the blocks' matrix products and activations. Embeddings,
  /// LayerNorm weights, the head and the loss stay float32. `shape` and `arena` outlive the model.
  static std::unique_ptr<Model> make(const EncoderShape& shape, Arena& arena, at::ScalarType compute, Form form);

  virtual ~Model() = default;

  /// Hidden states are those after the embeddings and after each block; a decoder's follow the encoder's.
  virtual Output forward(const Pass& pass, bool keep_hidden_states) const = 0;

  /// Ties the leaves to the arena's gradient buffer; a leaf whose parameters are all frozen gets none.
  void train_parameters(const std::vector<bool>& frozen) { leaves_.train(frozen); }

  /// Clears the gradients of all but the parameter `except` before a step's first pass; `one_part`: it is also the
  /// last.
  void clear_gradients(size_t except, bool one_part) { leaves_.clear_gradients(except, one_part); }
  std::vector<size_t> half_spans() const { return leaves_.half_spans(); }
  at::Tensor read_gradient(size_t index) const { return leaves_.read_gradient(index); }
  /// To be called after a step's last pass.
  void finish_gradients() { leaves_.zero_stale(); }

  /// Throws ERR_CONFIG for a plan that `mix_parameters` could not set.
  void check_mixing(const std::vector<ParameterPlan>& plan) const { leaves_.check_mixing(plan); }
  /// Sets which weights are mixed with their start values.
  void mix_parameters(const std::vector<ParameterPlan>& plan) { leaves_.mix(plan); }

 protected:
  Model(Arena& arena, Form form) : leaves_(arena, form) {}

  Leaves leaves_;
};

}  // namespace steadytune
