#include "core/operators.h"

#include <ATen/core/dispatch/Dispatcher.h>

namespace steadytune::operators {
namespace {

template <typename Signature>
c10::TypedOperatorHandle<Signature> find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace

at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed,
                   int64_t layer, int64_t site, int64_t step, const Counter& counter) {
  static const auto op = find<decltype(dropout)>("steadytune::dropout");
  return op.call(x, rows, positions, p, seed, layer, site, step, counter);
}

std::tuple<at::Tensor, at::Tensor> packed_attention(const at::Tensor& qkv, const at::Tensor& row_offsets,
                                                    const at::Tensor& row_numbers, int64_t heads, bool causal, double p,
                                                    int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                    const Counter& counter) {
  static const auto op = find<decltype(packed_attention)>("steadytune::packed_attention");
  return op.call(qkv, row_offsets, row_numbers, heads, causal, p, seed, layer, site, step, counter);
}

at::Tensor packed_attention_backward(const at::Tensor& grad_output, const at::Tensor& qkv, const at::Tensor& output,
                                     const at::Tensor& logsumexp, const at::Tensor& row_offsets,
                                     const at::Tensor& row_numbers, int64_t heads, bool causal, double p, int64_t seed,
                                     int64_t layer, int64_t site, int64_t step, const Counter& counter) {
  static const auto op = find<decltype(packed_attention_backward)>("steadytune::packed_attention_backward");
  return op.call(grad_output, qkv, output, logsumexp, row_offsets, row_numbers, heads, causal, p, seed, layer, site,
                 step, counter);
}

std::tuple<at::Tensor, at::Tensor> cross_attention(const at::Tensor& query, const at::Tensor& key_value,
                                                   const at::Tensor& row_offsets, const at::Tensor& row_numbers,
                                                   int64_t heads, double p, int64_t seed, int64_t layer, int64_t site,
                                                   int64_t step, const Counter& counter) {
  static const auto op = find<decltype(cross_attention)>("steadytune::cross_attention");
  return op.call(query, key_value, row_offsets, row_numbers, heads, p, seed, layer, site, step, counter);
}

std::tuple<at::Tensor, at::Tensor> cross_attention_backward(const at::Tensor& grad_output, const at::Tensor& query,
                                                            const at::Tensor& key_value, const at::Tensor& logsumexp,
                                                            const at::Tensor& row_offsets,
                                                            const at::Tensor& row_numbers, int64_t heads, double p,
                                                            int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                            const Counter& counter) {
  static const auto op = find<decltype(cross_attention_backward)>("steadytune::cross_attention_backward");
  return op.call(grad_output, query, key_value, logsumexp, row_offsets, row_numbers, heads, p, seed, layer, site, step,
                 counter);
}

std::tuple<at::Tensor, at::Tensor> summary_attention(const at::Tensor& query, const at::Tensor& key_value,
                                                     const at::Tensor& row_offsets, const at::Tensor& row_numbers,
                                                     const at::Tensor& positions, int64_t heads, double p, int64_t seed,
                                                     int64_t layer, int64_t site, int64_t step,
                                                     const Counter& counter) {
  static const auto op = find<decltype(summary_attention)>("steadytune::summary_attention");
  return op.call(query, key_value, row_offsets, row_numbers, positions, heads, p, seed, layer, site, step, counter);
}

std::tuple<at::Tensor, at::Tensor> summary_attention_backward(
    const at::Tensor& grad_output, const at::Tensor& query, const at::Tensor& key_value, const at::Tensor& logsumexp,
    const at::Tensor& row_offsets, const at::Tensor& row_numbers, const at::Tensor& positions, int64_t heads, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const Counter& counter) {
  static const auto op = find<decltype(summary_attention_backward)>("steadytune::summary_attention_backward");
  return op.call(grad_output, query, key_value, logsumexp, row_offsets, row_numbers, positions, heads, p, seed, layer,
                 site, step, counter);
}

std::tuple<at::Tensor, at::Tensor> relative_attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& relative,
    const at::Tensor& vectors, const at::Tensor& segment_ids, const at::Tensor& query_offsets,
    const at::Tensor& query_positions, const at::Tensor& row_offsets, const at::Tensor& row_numbers, int64_t heads,
    double p, int64_t seed, int64_t layer, int64_t site, int64_t step, const Counter& counter) {
  static const auto op = find<decltype(relative_attention)>("steadytune::relative_attention");
  return op.call(query, key, value, relative, vectors, segment_ids, query_offsets, query_positions, row_offsets,
                 row_numbers, heads, p, seed, layer, site, step, counter);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> relative_attention_backward(
    const at::Tensor& grad_output, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& relative, const at::Tensor& vectors, const at::Tensor& logsumexp, const at::Tensor& segment_ids,
    const at::Tensor& query_offsets, const at::Tensor& query_positions, const at::Tensor& row_offsets,
    const at::Tensor& row_numbers, int64_t heads, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
    const Counter& counter) {
  static const auto op = find<decltype(relative_attention_backward)>("steadytune::relative_attention_backward");
  return op.call(grad_output, query, key, value, relative, vectors, logsumexp, segment_ids, query_offsets,
                 query_positions, row_offsets, row_numbers, heads, p, seed, layer, site, step, counter);
}

at::Tensor mixout(const at::Tensor& values, const at::Tensor& target, const std::optional<at::Tensor>& mask,
                  at::ArrayRef<double> p, bool column, bool exact_gradient, at::ScalarType dtype, int64_t seed,
                  int64_t layer, int64_t site, int64_t step, int64_t micro_batch, const Counter& counter) {
  static const auto op = find<decltype(mixout)>("steadytune::mixout");
  return op.call(values, target, mask, p, column, exact_gradient, dtype, seed, layer, site, step, micro_batch, counter);
}

at::Tensor mixout_backward(const at::Tensor& grad_output, const std::optional<at::Tensor>& mask, at::ArrayRef<double> p,
                           bool column, bool exact_gradient, int64_t seed, int64_t layer, int64_t site, int64_t step,
                           int64_t micro_batch, const Counter& counter) {
  static const auto op = find<decltype(mixout_backward)>("steadytune::mixout_backward");
  return op.call(grad_output, mask, p, column, exact_gradient, seed, layer, site, step, micro_batch, counter);
}

void adamw_(const at::Tensor& values, const at::Tensor& gradients, const at::Tensor& moment1, const at::Tensor& moment2,
            const std::optional<at::Tensor>& start, const at::Tensor& bounds, const at::Tensor& settings,
            const at::Tensor& flags, const at::Tensor& squared_norm, double lr, double beta1, double beta2, double eps,
            bool bias_correction, int64_t step, double max_grad_norm, const std::optional<at::Tensor>& compute) {
  using Signature = void(at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&, const std::optional<at::Tensor>&,
                         const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, double, double,
                         double, double, bool, int64_t, double, const std::optional<at::Tensor>&);
  static const auto op = find<Signature>("steadytune::adamw_");
  // The schema's alias annotations ask for lvalues; a tensor handle is cheap to copy.
  at::Tensor values_handle = values;
  at::Tensor moment1_handle = moment1;
  at::Tensor moment2_handle = moment2;
  op.call(values_handle, gradients, moment1_handle, moment2_handle, start, bounds, settings, flags, squared_norm, lr,
          beta1, beta2, eps, bias_correction, step, max_grad_norm, compute);
}

void adamw_scheduled_(const at::Tensor& values, const at::Tensor& gradients, const at::Tensor& moment1,
                      const at::Tensor& moment2, const std::optional<at::Tensor>& start, const at::Tensor& bounds,
                      const at::Tensor& settings, const at::Tensor& flags, const at::Tensor& squared_norm,
                      const at::Tensor& loss, const at::Tensor& lr, const at::Tensor& counter,
                      const at::Tensor& diverged_at, double beta1, double beta2, double eps, bool bias_correction,
                      double max_grad_norm, const std::optional<at::Tensor>& compute) {
  using Signature = void(at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&, const std::optional<at::Tensor>&,
                         const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                         const at::Tensor&, const at::Tensor&, at::Tensor&, double, double, double, bool, double,
                         const std::optional<at::Tensor>&);
  static const auto op = find<Signature>("steadytune::adamw_scheduled_");
  at::Tensor values_handle = values;
  at::Tensor moment1_handle = moment1;
  at::Tensor moment2_handle = moment2;
  at::Tensor diverged_handle = diverged_at;
  op.call(values_handle, gradients, moment1_handle, moment2_handle, start, bounds, settings, flags, squared_norm, loss,
          lr, counter, diverged_handle, beta1, beta2, eps, bias_correction, max_grad_norm, compute);
}

at::Tensor squared_norm(const at::Tensor& gradients, const at::Tensor& bounds, const at::Tensor& flags) {
  static const auto op = find<decltype(squared_norm)>("steadytune::squared_norm");
  return op.call(gradients, bounds, flags);
}

at::Tensor segment_squared_distance(const at::Tensor& values, const at::Tensor& start, const at::Tensor& bounds) {
  static const auto op = find<decltype(segment_squared_distance)>("steadytune::segment_squared_distance");
  return op.call(values, start, bounds);
}

void normal_(const at::Tensor& x, double std, int64_t seed, int64_t stream, int64_t layer, int64_t site) {
  static const auto op = find<void(at::Tensor&, double, int64_t, int64_t, int64_t, int64_t)>("steadytune::normal_");
  at::Tensor handle = x;
  op.call(handle, std, seed, stream, layer, site);
}

at::Tensor bias_activation(const at::Tensor& x, const at::Tensor& bias, int64_t activation, const at::Tensor& rows,
                           const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site,
                           int64_t step, const Counter& counter) {
  static const auto op = find<decltype(bias_activation)>("steadytune::bias_activation");
  return op.call(x, bias, activation, rows, positions, p, seed, layer, site, step, counter);
}

std::tuple<at::Tensor, at::Tensor> bias_activation_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                                            const at::Tensor& bias, int64_t activation,
                                                            const at::Tensor& rows, const at::Tensor& positions,
                                                            double p, int64_t seed, int64_t layer, int64_t site,
                                                            int64_t step, const Counter& counter) {
  static const auto op = find<decltype(bias_activation_backward)>("steadytune::bias_activation_backward");
  return op.call(grad_y, x, bias, activation, rows, positions, p, seed, layer, site, step, counter);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> head_loss(
    const at::Tensor& x, const at::Tensor& dense, const at::Tensor& dense_bias, const at::Tensor& output,
    const at::Tensor& output_bias, const std::optional<at::Tensor>& labels, int64_t activation, const at::Tensor& rows,
    const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
    const Counter& counter) {
  static const auto op = find<decltype(head_loss)>("steadytune::head_loss");
  return op.call(x, dense, dense_bias, output, output_bias, labels, activation, rows, positions, p, seed, layer, site,
                 step, counter);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> head_loss_backward(
    const at::Tensor& grad_loss, const at::Tensor& grad_logits, const at::Tensor& widened, const at::Tensor& dense_bias,
    const at::Tensor& output, int64_t activation, const at::Tensor& rows, const at::Tensor& positions, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const Counter& counter) {
  static const auto op = find<decltype(head_loss_backward)>("steadytune::head_loss_backward");
  return op.call(grad_loss, grad_logits, widened, dense_bias, output, activation, rows, positions, p, seed, layer, site,
                 step, counter);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> dropout_add_norm(const at::Tensor& x, const at::Tensor& bias,
                                                                const at::Tensor& residual, const at::Tensor& weight,
                                                                const at::Tensor& norm_bias, double eps,
                                                                const at::Tensor& rows, const at::Tensor& positions,
                                                                double p, int64_t seed, int64_t layer, int64_t site,
                                                                int64_t step, const Counter& counter) {
  static const auto op = find<decltype(dropout_add_norm)>("steadytune::dropout_add_norm");
  return op.call(x, bias, residual, weight, norm_bias, eps, rows, positions, p, seed, layer, site, step, counter);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> dropout_add_norm_backward(
    const at::Tensor& grad_y, const at::Tensor& normalized, const at::Tensor& rstd, const at::Tensor& weight,
    const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site,
    int64_t step, const Counter& counter) {
  static const auto op = find<decltype(dropout_add_norm_backward)>("steadytune::dropout_add_norm_backward");
  return op.call(grad_y, normalized, rstd, weight, rows, positions, p, seed, layer, site, step, counter);
}

at::Tensor column_sums(const at::Tensor& x) {
  static const auto op = find<decltype(column_sums)>("steadytune::column_sums");
  return op.call(x);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> embed(const at::Tensor& word, const at::Tensor& position,
                                                     const std::optional<at::Tensor>& segment,
                                                     const at::Tensor& word_ids, const at::Tensor& position_ids,
                                                     const std::optional<at::Tensor>& segment_ids, double word_scale,
                                                     const at::Tensor& weight, const at::Tensor& norm_bias, double eps,
                                                     at::ScalarType dtype, const at::Tensor& rows,
                                                     const at::Tensor& positions, double p, int64_t seed, int64_t layer,
                                                     int64_t site, int64_t step, const Counter& counter) {
  static const auto op = find<decltype(embed)>("steadytune::embed");
  return op.call(word, position, segment, word_ids, position_ids, segment_ids, word_scale, weight, norm_bias, eps,
                 dtype, rows, positions, p, seed, layer, site, step, counter);
}

std::tuple<at::Tensor, at::Tensor> embed_backward(
    const at::Tensor& grad_y, const at::Tensor& normalized, const at::Tensor& rstd, const at::Tensor& weight,
    const at::Tensor& word_ids, const at::Tensor& position_ids, const std::optional<at::Tensor>& segment_ids,
    double word_scale, const std::optional<at::Tensor>& grad_word, const std::optional<at::Tensor>& grad_position,
    const std::optional<at::Tensor>& grad_segment, const at::Tensor& rows, const at::Tensor& positions, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const Counter& counter) {
  static const auto op = find<decltype(embed_backward)>("steadytune::embed_backward");
  return op.call(grad_y, normalized, rstd, weight, word_ids, position_ids, segment_ids, word_scale, grad_word,
                 grad_position, grad_segment, rows, positions, p, seed, layer, site, step, counter);
}

}  // namespace steadytune::operators
