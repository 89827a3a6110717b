#pragma once

#include <ATen/ATen.h>

#include <deque>
#include <string>
#include <vector>

#include "core/arena.h"

namespace steadytune {

/// A leaf of the autograd graph: a view of the master values of one parameter, or of some that lie back to back
/// (query, key, value), with `.grad` a view of the arena's gradients.
struct Leaf {
  size_t index;
  size_t count;
  at::Tensor value;
  /// The same values in the compute dtype; `value` itself where that is float32.
  at::Tensor copy;

  bool trained() const { return value.requires_grad(); }
  /// A view of the arena's gradients; only of a leaf that is trained.
  at::Tensor gradient() const { return value.grad(); }
  /// float32 values without a graph.
  at::Tensor master() const { return value.detach(); }
};

/// All leaves of a model. What `add` returns stays where it is.
class Leaves {
 public:
  explicit Leaves(Arena& arena) : arena_(arena) {}
  Leaves(const Leaves&) = delete;
  Leaves& operator=(const Leaves&) = delete;

  const Leaf& add(const std::string& name, size_t count = 1);

  /// Ties the leaves to the arena's gradient buffer; a leaf whose parameters are all frozen gets none.
  void train(const std::vector<bool>& frozen);

 private:
  Arena& arena_;
  std::deque<Leaf> leaves_;
};

}  // namespace steadytune
