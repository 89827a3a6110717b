#pragma once

#include <ATen/ATen.h>

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/arena.h"
#include "core/form.h"

namespace steadytune {

/// How mixout changes a leaf's values in a forward pass of training (kernels/mixout.h).
struct Mixing {
  /// The values at the start.
  at::Tensor target;
  /// One for each of the joined parameters; 0 for those that are not mixed.
  std::vector<double> p;
  Mixout how;
  RandomPlace place;
};

/// A leaf of the autograd graph: a view of the master values of one parameter, or of some that lie back to back
/// (query, key, value), with `.grad` a view of the arena's gradients.
struct Leaf {
  size_t index;
  size_t count;
  at::Tensor value;
  /// The same values in the compute dtype and without a graph.
  at::Tensor copy;
  std::optional<Mixing> mixing = std::nullopt;
  /// Every gradient of this leaf is one whole product, so that the first of a step is written over what stands there.
  bool whole = false;
  /// All its parameters are trained alike.
  bool uniform = false;
  /// The first half of the gradient's place as bfloat16; undefined where no product is made in that.
  at::Tensor half_gradient = {};
  /// The gradient of the present step stands there: as a product of bfloat16 it is a bfloat16 number, and what is not
  /// widened need be neither written nor read at twice the size.
  mutable bool half = false;
  /// No gradient of the present step has been written yet.
  mutable bool stale = false;

  /// True for the first gradient of a step, which is to be written; the others are to be added.
  bool take_stale() const { return std::exchange(stale, false); }

  bool trained() const { return value.requires_grad(); }
  /// A view of the arena's gradients; only of a leaf that is trained.
  at::Tensor gradient() const { return value.grad(); }
  /// float32 values without a graph.
  at::Tensor master() const { return value.detach(); }
};

/// All leaves of a model. What `add` returns stays where it is.
class Leaves {
 public:
  Leaves(Arena& arena, Form form) : arena_(arena), form_(form) {}
  Leaves(const Leaves&) = delete;
  Leaves& operator=(const Leaves&) = delete;

  const Leaf& add(const std::string& name, size_t count = 1);

  /// Says that the fused blocks alone use this leaf's weight, and write its gradient a product at a time.
  void write_whole(const Leaf& leaf);

  /// Clears the gradients of all but the parameter `except` for a new step, whole ones by calling them stale. A step of
  /// one part may keep gradients in bfloat16.
  void clear_gradients(size_t except, bool one_part);
  /// For each parameter that begins a gradient in bfloat16 how many it spans, 0 for all others; empty without any.
  std::vector<size_t> half_spans() const;
  /// float32 copy of one parameter's gradient.
  at::Tensor read_gradient(size_t index) const;
  /// Zeroes whole gradients that no pass of the step has written.
  void zero_stale();

  /// Ties the leaves to the arena's gradient buffer; a leaf whose parameters are all frozen gets none.
  void train(const std::vector<bool>& frozen);

  /// Sets which weights are mixed with their start values, which the arena keeps for as long as it is so.
  void mix(const std::vector<ParameterPlan>& plan);
  /// Throws ERR_CONFIG where joined weights would be mixed in different ways.
  void check_mixing(const std::vector<ParameterPlan>& plan) const;

 private:
  /// How a plan mixes a leaf, the target left open.
  std::optional<Mixing> mixing_of(const Leaf& leaf, const std::vector<ParameterPlan>& plan) const;

  Arena& arena_;
  Form form_;
  std::deque<Leaf> leaves_;
};

}  // namespace steadytune
