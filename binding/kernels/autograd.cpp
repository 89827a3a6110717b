#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

// Joins the differentiable operators to their backward. The backward is an operator too, so that a device only adds
// kernels.
namespace steadytune::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Counter = std::optional<at::Tensor>;

at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed,
                   int64_t layer, int64_t site, int64_t step, const Counter& counter) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("steadytune::dropout", "").typed<decltype(dropout)>();
  return op.call(x, rows, positions, p, seed, layer, site, step, counter);
}

std::tuple<at::Tensor, at::Tensor> packed_attention(const at::Tensor& qkv, const at::Tensor& row_offsets,
                                                    const at::Tensor& row_numbers, int64_t heads, bool causal, double p,
                                                    int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                    const Counter& counter) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("steadytune::packed_attention", "")
                             .typed<decltype(packed_attention)>();
  return op.call(qkv, row_offsets, row_numbers, heads, causal, p, seed, layer, site, step, counter);
}

at::Tensor packed_attention_backward(const at::Tensor& grad_output, const at::Tensor& qkv, const at::Tensor& output,
                                     const at::Tensor& logsumexp, const at::Tensor& row_offsets,
                                     const at::Tensor& row_numbers, int64_t heads, bool causal, double p, int64_t seed,
                                     int64_t layer, int64_t site, int64_t step, const Counter& counter) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("steadytune::packed_attention_backward", "")
                             .typed<decltype(packed_attention_backward)>();
  return op.call(grad_output, qkv, output, logsumexp, row_offsets, row_numbers, heads, causal, p, seed, layer, site,
                 step, counter);
}

at::Tensor mixout(const at::Tensor& values, const at::Tensor& target, const std::optional<at::Tensor>& mask,
                  at::ArrayRef<double> p, bool column, bool exact_gradient, at::ScalarType dtype, int64_t seed,
                  int64_t layer, int64_t site, int64_t step, int64_t micro_batch, const Counter& counter) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("steadytune::mixout", "").typed<decltype(mixout)>();
  return op.call(values, target, mask, p, column, exact_gradient, dtype, seed, layer, site, step, micro_batch, counter);
}

at::Tensor mixout_backward(const at::Tensor& grad_output, const std::optional<at::Tensor>& mask, at::ArrayRef<double> p,
                           bool column, bool exact_gradient, int64_t seed, int64_t layer, int64_t site, int64_t step,
                           int64_t micro_batch, const Counter& counter) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("steadytune::mixout_backward", "")
                             .typed<decltype(mixout_backward)>();
  return op.call(grad_output, mask, p, column, exact_gradient, seed, layer, site, step, micro_batch, counter);
}

class Dropout : public torch::autograd::Function<Dropout> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& rows,
                            const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site,
                            int64_t step, const Counter& counter) {
    context->save_for_backward({rows, positions, counter.value_or(at::Tensor())});
    context->saved_data["p"] = p;
    context->saved_data["seed"] = seed;
    context->saved_data["layer"] = layer;
    context->saved_data["site"] = site;
    context->saved_data["step"] = step;
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    return dropout(x, rows, positions, p, seed, layer, site, step, counter);
  }

  static variable_list backward(AutogradContext* context, variable_list grad_outputs) {
    const variable_list saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const at::Tensor grad_x = dropout(grad_outputs[0], saved[0], saved[1], data["p"].toDouble(), data["seed"].toInt(),
                                      data["layer"].toInt(), data["site"].toInt(), data["step"].toInt(), saved[2]);
    return {grad_x, {}, {}, {}, {}, {}, {}, {}, {}};
  }
};

class PackedAttention : public torch::autograd::Function<PackedAttention> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& qkv, const at::Tensor& row_offsets,
                               const at::Tensor& row_numbers, int64_t heads, bool causal, double p, int64_t seed,
                               int64_t layer, int64_t site, int64_t step, const Counter& counter) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [output, logsumexp] =
        packed_attention(qkv, row_offsets, row_numbers, heads, causal, p, seed, layer, site, step, counter);
    context->save_for_backward({qkv, output, logsumexp, row_offsets, row_numbers, counter.value_or(at::Tensor())});
    context->mark_non_differentiable({logsumexp});
    context->saved_data["heads"] = heads;
    context->saved_data["causal"] = causal;
    context->saved_data["p"] = p;
    context->saved_data["seed"] = seed;
    context->saved_data["layer"] = layer;
    context->saved_data["site"] = site;
    context->saved_data["step"] = step;
    return {output, logsumexp};
  }

  static variable_list backward(AutogradContext* context, variable_list grad_outputs) {
    const variable_list saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const at::Tensor grad_qkv = packed_attention_backward(
        grad_outputs[0], saved[0], saved[1], saved[2], saved[3], saved[4], data["heads"].toInt(),
        data["causal"].toBool(), data["p"].toDouble(), data["seed"].toInt(), data["layer"].toInt(),
        data["site"].toInt(), data["step"].toInt(), saved[5]);
    return {grad_qkv, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
  }
};

class Mixout : public torch::autograd::Function<Mixout> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& values, const at::Tensor& target,
                            const std::optional<at::Tensor>& mask, at::ArrayRef<double> p, bool column,
                            bool exact_gradient, at::ScalarType dtype, int64_t seed, int64_t layer, int64_t site,
                            int64_t step, int64_t micro_batch, const Counter& counter) {
    context->save_for_backward({mask.value_or(at::Tensor()), counter.value_or(at::Tensor())});
    context->saved_data["p"] = p.vec();
    context->saved_data["column"] = column;
    context->saved_data["exact_gradient"] = exact_gradient;
    context->saved_data["seed"] = seed;
    context->saved_data["layer"] = layer;
    context->saved_data["site"] = site;
    context->saved_data["step"] = step;
    context->saved_data["micro_batch"] = micro_batch;
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    return mixout(values, target, mask, p, column, exact_gradient, dtype, seed, layer, site, step, micro_batch,
                  counter);
  }

  static variable_list backward(AutogradContext* context, variable_list grad_outputs) {
    const variable_list saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const std::vector<double> p = data["p"].toDoubleVector();
    const at::Tensor grad_values = mixout_backward(
        grad_outputs[0], saved[0], p, data["column"].toBool(), data["exact_gradient"].toBool(), data["seed"].toInt(),
        data["layer"].toInt(), data["site"].toInt(), data["step"].toInt(), data["micro_batch"].toInt(), saved[1]);
    return {grad_values, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
  }
};

at::Tensor dropout_autograd(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& positions, double p,
                            int64_t seed, int64_t layer, int64_t site, int64_t step, const Counter& counter) {
  if (p == 0.0) {
    return x;
  }
  return Dropout::apply(x, rows, positions, p, seed, layer, site, step, counter);
}

std::tuple<at::Tensor, at::Tensor> packed_attention_autograd(const at::Tensor& qkv, const at::Tensor& row_offsets,
                                                             const at::Tensor& row_numbers, int64_t heads, bool causal,
                                                             double p, int64_t seed, int64_t layer, int64_t site,
                                                             int64_t step, const Counter& counter) {
  const variable_list results =
      PackedAttention::apply(qkv, row_offsets, row_numbers, heads, causal, p, seed, layer, site, step, counter);
  return {results[0], results[1]};
}

at::Tensor mixout_autograd(const at::Tensor& values, const at::Tensor& target, const std::optional<at::Tensor>& mask,
                           at::ArrayRef<double> p, bool column, bool exact_gradient, at::ScalarType dtype, int64_t seed,
                           int64_t layer, int64_t site, int64_t step, int64_t micro_batch, const Counter& counter) {
  return Mixout::apply(values, target, mask, p, column, exact_gradient, dtype, seed, layer, site, step, micro_batch,
                       counter);
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, Autograd, m) {
  m.impl("dropout", dropout_autograd);
  m.impl("packed_attention", packed_attention_autograd);
  m.impl("mixout", mixout_autograd);
}

}  // namespace steadytune::kernels
