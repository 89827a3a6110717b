#include "core/leaves.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace steadytune {

const Leaf& Leaves::add(const std::string& name, size_t count) {
  const size_t index = arena_.index_of(name);
  const at::Tensor value = arena_.joined_value(index, count).detach();
  const at::Tensor copy = arena_.compute().defined() ? arena_.joined_compute(index, count) : value;
  return leaves_.emplace_back(Leaf{index, count, value, copy});
}

void Leaves::write_whole(const Leaf& leaf) {
  if (form_ != Form::fused) return;
  for (Leaf& mine : leaves_) {
    if (&mine == &leaf) mine.whole = true;
  }
}

void Leaves::clear_gradients(size_t except) {
  std::vector<bool> cleared(arena_.parameters().size());
  cleared[except] = true;
  for (const Leaf& leaf : leaves_) {
    leaf.stale = leaf.whole && leaf.trained();
    if (!leaf.stale) continue;
    std::fill_n(cleared.begin() + static_cast<int64_t>(leaf.index), leaf.count, true);
  }
  // Neighbours go at once: most of what is left are biases and LayerNorms.
  const auto count = cleared.size();
  for (size_t first = 0; first < count; ++first) {
    if (cleared[first]) continue;
    size_t last = first;
    while (last + 1 < count && !cleared[last + 1]) ++last;
    const int64_t begin = arena_.begin_of(first);
    const int64_t end = arena_.begin_of(last) + arena_.parameters()[last].elements();
    arena_.gradients().narrow(0, begin, end - begin).zero_();
    first = last;
  }
}

void Leaves::zero_stale() {
  for (const Leaf& leaf : leaves_) {
    if (leaf.take_stale()) leaf.gradient().zero_();
  }
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

std::optional<Mixing> Leaves::mixing_of(const Leaf& leaf, const std::vector<ParameterPlan>& plan) const {
  std::vector<double> p(leaf.count, 0.0);
  std::optional<Mixout> how;
  for (size_t i = 0; i < leaf.count; ++i) {
    const std::optional<Mixout>& entry = plan[leaf.index + i].mixout;
    if (!entry || entry->p == 0) continue;
    if (how && (how->column != entry->column || how->exact_gradient != entry->exact_gradient)) {
      throw Error("ERR_CONFIG", "the plan of '" + arena_.parameters()[leaf.index + i].name +
                                    "' mixes in another way than that of the parameters it is multiplied with");
    }
    how = entry;
    p[i] = entry->p;
  }
  if (!how) return std::nullopt;
  return Mixing{{}, std::move(p), *how, random_place(arena_.parameters(), leaf.index)};
}

void Leaves::check_mixing(const std::vector<ParameterPlan>& plan) const {
  for (const Leaf& leaf : leaves_) static_cast<void>(mixing_of(leaf, plan));
}

void Leaves::mix(const std::vector<ParameterPlan>& plan) {
  for (Leaf& leaf : leaves_) {
    leaf.mixing = mixing_of(leaf, plan);
    if (leaf.mixing) leaf.mixing->target = arena_.joined_start(leaf.index, leaf.count);
  }
}

}  // namespace steadytune
