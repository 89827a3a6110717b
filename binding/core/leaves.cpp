#include "core/leaves.h"

namespace steadytune {

const Leaf& Leaves::add(const std::string& name, size_t count) {
  const size_t index = arena_.index_of(name);
  const at::Tensor value = arena_.joined_value(index, count).detach();
  const at::Tensor copy = arena_.compute().defined() ? arena_.joined_compute(index, count) : value;
  return leaves_.emplace_back(Leaf{index, count, value, copy});
}

void Leaves::train(const std::vector<bool>& frozen) {
  arena_.allocate_gradients();
  for (Leaf& leaf : leaves_) {
    bool trained = false;
    for (size_t i = leaf.index; i < leaf.index + leaf.count; ++i) trained = trained || !frozen[i];
    // A new leaf, since autograd refuses to change whether an old one is trained once a graph has used it.
    leaf.value = arena_.joined_value(leaf.index, leaf.count).detach();
    if (!trained) continue;
    leaf.value.set_requires_grad(true);
    leaf.value.mutable_grad() = arena_.joined_gradient(leaf.index, leaf.count);
  }
}

}  // namespace steadytune
