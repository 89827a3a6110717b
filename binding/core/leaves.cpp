#include "core/leaves.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace steadytune {

namespace {

/// Whether the optimizer treats two parameters as one.
bool trained_alike(const ParameterPlan& a, const ParameterPlan& b) {
  return a.frozen == b.frozen && a.lr_scale == b.lr_scale && a.weight_decay == b.weight_decay &&
         a.decay_towards_start == b.decay_towards_start && a.decay_scaled_by_lr == b.decay_scaled_by_lr;
}

}  // namespace

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

std::vector<size_t> Leaves::half_spans() const {
  std::vector<size_t> spans;
  for (const Leaf& leaf : leaves_) {
    if (!leaf.half) continue;
    spans.resize(arena_.parameters().size());
    spans[leaf.index] = leaf.count;
  }
  return spans;
}

at::Tensor Leaves::read_gradient(size_t index) const {
  for (const Leaf& leaf : leaves_) {
    if (!leaf.half || index < leaf.index || index >= leaf.index + leaf.count) continue;
    const auto part = static_cast<int64_t>(index - leaf.index);
    return leaf.half_gradient.chunk(static_cast<int64_t>(leaf.count))[part].to(at::kFloat);
  }
  return arena_.gradient(index).clone();
}

void Leaves::clear_gradients(size_t except, bool one_part) {
  std::vector<bool> cleared(arena_.parameters().size());
  cleared[except] = true;
  for (const Leaf& leaf : leaves_) {
    leaf.stale = leaf.whole && leaf.trained();
    leaf.half = leaf.stale && one_part && leaf.uniform && !leaf.mixing && leaf.half_gradient.defined();
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
    if (leaf.take_stale()) (leaf.half ? leaf.half_gradient : leaf.gradient()).zero_();
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
    if (leaf.whole && arena_.compute().defined() && arena_.compute().is_cpu()) {
      const at::Tensor numbers = leaf.gradient().view(-1);
      leaf.half_gradient = numbers.view(at::kBFloat16).narrow(0, 0, numbers.numel()).view(leaf.value.sizes());
    }
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
    const auto first = plan.begin() + static_cast<int64_t>(leaf.index);
    leaf.uniform = std::all_of(first, first + static_cast<int64_t>(leaf.count),
                               [&](const ParameterPlan& entry) { return trained_alike(entry, *first); });
    if (leaf.mixing) leaf.mixing->target = arena_.joined_start(leaf.index, leaf.count);
  }
}

}  // namespace steadytune
