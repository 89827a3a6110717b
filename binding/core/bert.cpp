#include "core/bert.h"

#include <torch/csrc/autograd/custom_function.h>

#include <functional>
#include <string>

#include "core/error.h"
#include "core/operators.h"
#include "kernels/philox.h"

namespace steadytune {
namespace {

/// Row lookup whose backward adds straight into the arena: ATen's own would fill a second table of the vocabulary's
/// size and then add that.
class Lookup : public torch::autograd::Function<Lookup> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& table, const at::Tensor& ids,
                            const at::Tensor& gradient) {
    context->saved_data["ids"] = ids;
    context->saved_data["gradient"] = gradient;
    return table.index_select(0, ids);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list output_gradients) {
    context->saved_data["gradient"].toTensor().index_add_(0, context->saved_data["ids"].toTensor(),
                                                          output_gradients[0]);
    return {at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

std::string block_name(int64_t layer) { return "blocks." + std::to_string(layer) + "."; }

void check_stop(const std::atomic<bool>& stop) {
  if (stop.load(std::memory_order_relaxed)) throw Error("ERR_ABORTED", "the work was stopped");
}

}  // namespace

std::vector<ParameterInfo> Bert::parameters(const EncoderShape& shape) {
  const int64_t hidden = shape.hidden_size;
  std::vector<ParameterInfo> list;
  const auto add = [&](std::string name, std::vector<int64_t> size, Role role, Kind kind,
                       std::optional<int64_t> block = std::nullopt, bool joined = false) {
    list.push_back({std::move(name), std::move(size), role, kind, block, joined});
  };
  const auto add_linear = [&](const std::string& name, int64_t out, int64_t in, Role role,
                              std::optional<int64_t> block = std::nullopt) {
    add(name + ".weight", {out, in}, role, Kind::weight, block);
    add(name + ".bias", {out}, role, Kind::bias, block);
  };
  const auto add_norm = [&](const std::string& name, std::optional<int64_t> block = std::nullopt) {
    add(name + ".weight", {hidden}, Role::layer_norm, Kind::weight, block);
    add(name + ".bias", {hidden}, Role::layer_norm, Kind::bias, block);
  };

  add("embeddings.word.weight", {shape.vocabulary_size, hidden}, Role::embedding, Kind::weight);
  add("embeddings.position.weight", {shape.max_positions, hidden}, Role::embedding, Kind::weight);
  add("embeddings.segment.weight", {shape.segment_types, hidden}, Role::embedding, Kind::weight);
  add_norm("embeddings.norm");
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const std::string block = block_name(layer);
    // Query, key and value lie back to back, so that one product serves all three.
    for (const Kind kind : {Kind::weight, Kind::bias}) {
      bool joined = false;
      for (const char* part : {"query", "key", "value"}) {
        const bool weight = kind == Kind::weight;
        add(block + "attention." + part + (weight ? ".weight" : ".bias"),
            weight ? std::vector<int64_t>{hidden, hidden} : std::vector<int64_t>{hidden}, Role::attention, kind, layer,
            joined);
        joined = true;
      }
    }
    add_linear(block + "attention.output", hidden, hidden, Role::attention, layer);
    add_norm(block + "attention.norm", layer);
    add_linear(block + "ffn.intermediate", shape.intermediate_size, hidden, Role::ffn, layer);
    add_linear(block + "ffn.output", hidden, shape.intermediate_size, Role::ffn, layer);
    add_norm(block + "ffn.norm", layer);
  }
  add_linear("pooler", hidden, hidden, Role::pooler);
  add_linear("classifier", shape.outputs, hidden, Role::classifier);
  return list;
}

Bert::Bert(const EncoderShape& shape, Arena& arena, at::ScalarType compute)
    : shape_(shape),
      arena_(arena),
      compute_(compute),
      word_(leaf("embeddings.word.weight")),
      position_(leaf("embeddings.position.weight")),
      segment_(leaf("embeddings.segment.weight")),
      embedding_norm_(norm("embeddings.norm")),
      pooler_(linear("pooler")),
      classifier_(linear("classifier")) {
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const std::string block = block_name(layer);
    blocks_.push_back({.qkv = {leaf(block + "attention.query.weight", 3), leaf(block + "attention.query.bias", 3)},
                       .attention_output = linear(block + "attention.output"),
                       .attention_norm = norm(block + "attention.norm"),
                       .intermediate = linear(block + "ffn.intermediate"),
                       .ffn_output = linear(block + "ffn.output"),
                       .ffn_norm = norm(block + "ffn.norm")});
  }
}

Bert::Leaf Bert::leaf(const std::string& name, size_t count) const {
  const size_t index = arena_.index_of(name);
  return {index, count, arena_.joined_value(index, count).detach()};
}

Bert::Linear Bert::linear(const std::string& name, size_t count) const {
  return {leaf(name + ".weight", count), leaf(name + ".bias", count)};
}

Bert::Norm Bert::norm(const std::string& name) const { return {leaf(name + ".weight"), leaf(name + ".bias")}; }

void Bert::for_each_leaf(const std::function<void(Leaf&)>& visit) {
  for (Leaf* single : {&word_, &position_, &segment_, &embedding_norm_.weight, &embedding_norm_.bias, &pooler_.weight,
                       &pooler_.bias, &classifier_.weight, &classifier_.bias}) {
    visit(*single);
  }
  for (Block& block : blocks_) {
    for (Linear* part : {&block.qkv, &block.attention_output, &block.intermediate, &block.ffn_output}) {
      visit(part->weight);
      visit(part->bias);
    }
    for (Norm* part : {&block.attention_norm, &block.ffn_norm}) {
      visit(part->weight);
      visit(part->bias);
    }
  }
}

void Bert::train_parameters(const std::vector<bool>& frozen) {
  arena_.allocate_gradients();
  for_each_leaf([&](Leaf& leaf) {
    bool trained = false;
    for (size_t i = leaf.index; i < leaf.index + leaf.count; ++i) trained = trained || !frozen[i];
    // A new leaf, since autograd refuses to change whether an old one is trained once a graph has used it.
    leaf.value = arena_.joined_value(leaf.index, leaf.count).detach();
    if (!trained) return;
    leaf.value.set_requires_grad(true);
    leaf.value.mutable_grad() = arena_.joined_gradient(leaf.index, leaf.count);
  });
}

void Bert::mix_parameters(const std::vector<ParameterPlan>& plan) {
  for_each_leaf([&](Leaf& leaf) {
    leaf.mixing.reset();
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
    if (!how) return;
    leaf.mixing = {arena_.joined_start(leaf.index, leaf.count), std::move(p), *how,
                   random_place(arena_.parameters(), leaf.index)};
  });
}

at::Tensor Bert::lookup(const Leaf& table, const at::Tensor& ids) const {
  if (!table.value.requires_grad()) return table.value.index_select(0, ids);
  return Lookup::apply(table.value, ids, table.value.grad());
}

at::Tensor Bert::weight(const Leaf& leaf, at::ScalarType dtype, const DropoutKey& masks) const {
  if (!leaf.mixing || !masks.mixing) return leaf.value.to(dtype);
  const auto& [target, p, how, place] = *leaf.mixing;
  return operators::mixout(leaf.value, target, std::nullopt, p, how.column, how.exact_gradient, dtype, masks.seed,
                           place.layer, place.site, masks.step, masks.micro_batch);
}

at::Tensor Bert::apply(const Linear& linear, const at::Tensor& x, const DropoutKey& masks) const {
  const auto dtype = x.scalar_type();
  return at::linear(x, weight(linear.weight, dtype, masks), linear.bias.value.to(dtype));
}

at::Tensor Bert::apply(const Norm& norm, const at::Tensor& x) const {
  return at::layer_norm(x, {shape_.hidden_size}, norm.weight.value, norm.bias.value, shape_.layer_norm_eps);
}

at::Tensor Bert::embed(const PackedBatch& batch, const DropoutKey& dropout) const {
  at::Tensor sum = lookup(word_, batch.token_ids) + lookup(segment_, batch.segment_ids);
  sum = sum + lookup(position_, batch.positions);
  const at::Tensor normalized = apply(embedding_norm_, sum);
  const at::Tensor dropped =
      operators::dropout(normalized, batch.token_rows, batch.positions, dropout.active ? shape_.hidden_dropout : 0,
                         dropout.seed, 0, static_cast<int64_t>(Site::embeddings), dropout.step);
  return dropped.to(compute_);
}

at::Tensor Bert::run_block(int64_t layer, const at::Tensor& x, const PackedBatch& batch,
                           const DropoutKey& dropout) const {
  const Block& block = blocks_[layer];
  const double hidden_dropout = dropout.active ? shape_.hidden_dropout : 0;
  const double attention_dropout = dropout.active ? shape_.attention_dropout : 0;
  const auto drop = [&](const at::Tensor& y, Site site) {
    return operators::dropout(y, batch.token_rows, batch.positions, hidden_dropout, dropout.seed, layer,
                              static_cast<int64_t>(site), dropout.step);
  };

  const at::Tensor qkv = apply(block.qkv, x, dropout);
  const at::Tensor context = std::get<0>(operators::packed_attention(
      qkv, batch.row_offsets, batch.row_numbers, shape_.heads, false, attention_dropout, dropout.seed, layer,
      static_cast<int64_t>(Site::attention_probabilities), dropout.step));
  const at::Tensor attended =
      apply(block.attention_norm, x + drop(apply(block.attention_output, context, dropout), Site::attention_output));

  const at::Tensor widened = apply(block.intermediate, attended, dropout);
  const at::Tensor activated = shape_.activation == Activation::relu
                                   ? at::relu(widened)
                                   : at::gelu(widened, shape_.activation == Activation::gelu_tanh ? "tanh" : "none");
  return apply(block.ffn_norm, attended + drop(apply(block.ffn_output, activated, dropout), Site::ffn_output));
}

Bert::Output Bert::forward(const PackedBatch& batch, const DropoutKey& dropout, bool keep_hidden_states,
                           const std::atomic<bool>& stop) const {
  Output output;
  at::Tensor x = embed(batch, dropout);
  if (keep_hidden_states) output.hidden_states.push_back(x);
  for (int64_t layer = 0; layer < shape_.layers; ++layer) {
    check_stop(stop);
    x = run_block(layer, x, batch, dropout);
    if (keep_hidden_states) output.hidden_states.push_back(x);
  }
  check_stop(stop);
  const at::Tensor first = x.index_select(0, batch.first_tokens).to(at::kFloat);
  output.pooled = at::tanh(apply(pooler_, first, dropout));
  const at::Tensor dropped = operators::dropout(output.pooled, batch.row_numbers, batch.row_zeros,
                                                dropout.active ? shape_.classifier_dropout : 0, dropout.seed, 0,
                                                static_cast<int64_t>(Site::classifier), dropout.step);
  output.logits = apply(classifier_, dropped, dropout);
  return output;
}

}  // namespace steadytune
