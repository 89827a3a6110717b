#include "core/layers.h"

#include <torch/csrc/autograd/custom_function.h>

#include "core/operators.h"
#include "core/product.h"

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
    at::Tensor gradient = context->saved_data["gradient"].toTensor();
    const at::Tensor ids = context->saved_data["ids"].toTensor();
    if (gradient.is_cuda()) {
      // index_add_ adds in no fixed order there; this sorts. Unsafe: checking the ids would wait for the device, and
      // they were checked when the batch was packed.
      const c10::List<std::optional<at::Tensor>> rows({ids.to(at::kLong)});
      at::_index_put_impl_(gradient, rows, output_gradients[0], /*accumulate=*/true, /*unsafe=*/true);
    } else {
      gradient.index_add_(0, ids, output_gradients[0]);
    }
    return {at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor weight_of(const Pass& pass, const Leaf& leaf, at::ScalarType dtype) {
  if (!leaf.mixing || !pass.draws.mixout) return leaf.value.to(dtype);
  const auto& [target, p, how, place] = *leaf.mixing;
  return operators::mixout(leaf.value, target, std::nullopt, p, how.column, how.exact_gradient, dtype, pass.draws.seed,
                           place.layer, place.site, pass.draws.step, pass.draws.part, pass.draws.counter);
}

at::Tensor Linear::operator()(const Pass& pass, const at::Tensor& x) const {
  const auto dtype = x.scalar_type();
  const at::Tensor w = weight_of(pass, weight, dtype);
  const at::Tensor b = bias.value.to(dtype);
  if (multiplied_as_they_are(x)) return at::linear(x, w, b);
  return at::linear(x.to(at::kFloat), w.to(at::kFloat), b.to(at::kFloat)).to(dtype);
}

at::Tensor Norm::operator()(const at::Tensor& x) const {
  // CUDA's LayerNorm takes no weights of another dtype than x; the CPU's computes in float32 as well.
  if (x.is_cuda() && x.scalar_type() != at::kFloat) {
    return at::layer_norm(x.to(at::kFloat), {x.size(-1)}, weight.value, bias.value, eps).to(x.scalar_type());
  }
  return at::layer_norm(x, {x.size(-1)}, weight.value, bias.value, eps);
}

at::Tensor Embedding::operator()(const at::Tensor& ids) const {
  if (!table.value.requires_grad()) return table.value.index_select(0, ids);
  return Lookup::apply(table.value, ids, table.value.grad());
}

at::Tensor activate(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::relu:
      return at::relu(x);
    case Activation::tanh:
      return at::tanh(x);
  }
  throw Error("ERR_INTERNAL", "an activation is none of those known");
}

at::Tensor drop_tokens(const Pass& pass, const at::Tensor& x, double p, int64_t layer, Site site) {
  const auto& [batch, draws, stop, form] = pass;
  return operators::dropout(x, batch.token_rows, batch.positions, draws.dropout ? p : 0, draws.seed, layer,
                            static_cast<int64_t>(site), draws.step, draws.counter);
}

at::Tensor drop_rows(const Pass& pass, const at::Tensor& x, double p, Site site) {
  const auto& [batch, draws, stop, form] = pass;
  return operators::dropout(x, batch.row_numbers, batch.row_zeros, draws.dropout ? p : 0, draws.seed, 0,
                            static_cast<int64_t>(site), draws.step, draws.counter);
}

}  // namespace steadytune
