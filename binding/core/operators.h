#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <tuple>

/// Typed calls of the operators that binding/kernels registers; the device of the tensors picks the kernel.
namespace steadytune::operators {

/// int64 [3] on the device, added there to `step`, `micro_batch` and `seed`: for graphs that are replayed.
using Counter = std::optional<at::Tensor>;

at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed,
                   int64_t layer, int64_t site, int64_t step, const Counter& counter = std::nullopt);

std::tuple<at::Tensor, at::Tensor> packed_attention(const at::Tensor& qkv, const at::Tensor& row_offsets,
                                                    const at::Tensor& row_numbers, int64_t heads, bool causal, double p,
                                                    int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                    const Counter& counter = std::nullopt);

at::Tensor packed_attention_backward(const at::Tensor& grad_output, const at::Tensor& qkv, const at::Tensor& output,
                                     const at::Tensor& logsumexp, const at::Tensor& row_offsets,
                                     const at::Tensor& row_numbers, int64_t heads, bool causal, double p, int64_t seed,
                                     int64_t layer, int64_t site, int64_t step, const Counter& counter = std::nullopt);

/// Attention of one sequence's tokens to another's: {output [T, h], logsumexp}.
std::tuple<at::Tensor, at::Tensor> cross_attention(const at::Tensor& query, const at::Tensor& key_value,
                                                   const at::Tensor& row_offsets, const at::Tensor& row_numbers,
                                                   int64_t heads, double p, int64_t seed, int64_t layer, int64_t site,
                                                   int64_t step, const Counter& counter = std::nullopt);

/// {grad_query, grad_key_value}
std::tuple<at::Tensor, at::Tensor> cross_attention_backward(const at::Tensor& grad_output, const at::Tensor& query,
                                                            const at::Tensor& key_value, const at::Tensor& logsumexp,
                                                            const at::Tensor& row_offsets,
                                                            const at::Tensor& row_numbers, int64_t heads, double p,
                                                            int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                            const Counter& counter = std::nullopt);

/// Attention of one query per row: {output [B, h], logsumexp}.
std::tuple<at::Tensor, at::Tensor> summary_attention(const at::Tensor& query, const at::Tensor& key_value,
                                                     const at::Tensor& row_offsets, const at::Tensor& row_numbers,
                                                     const at::Tensor& positions, int64_t heads, double p, int64_t seed,
                                                     int64_t layer, int64_t site, int64_t step,
                                                     const Counter& counter = std::nullopt);

/// {grad_query, grad_key_value}
std::tuple<at::Tensor, at::Tensor> summary_attention_backward(
    const at::Tensor& grad_output, const at::Tensor& query, const at::Tensor& key_value, const at::Tensor& logsumexp,
    const at::Tensor& row_offsets, const at::Tensor& row_numbers, const at::Tensor& positions, int64_t heads, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const Counter& counter = std::nullopt);

/// XLNet's attention: {output [Q, h], logsumexp}; schema.cpp says what the arguments are.
std::tuple<at::Tensor, at::Tensor> relative_attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& relative,
    const at::Tensor& vectors, const at::Tensor& segment_ids, const at::Tensor& query_offsets,
    const at::Tensor& query_positions, const at::Tensor& row_offsets, const at::Tensor& row_numbers, int64_t heads,
    double p, int64_t seed, int64_t layer, int64_t site, int64_t step, const Counter& counter = std::nullopt);

/// {grad_query, grad_key, grad_value, grad_relative, grad_vectors}
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> relative_attention_backward(
    const at::Tensor& grad_output, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& relative, const at::Tensor& vectors, const at::Tensor& logsumexp, const at::Tensor& segment_ids,
    const at::Tensor& query_offsets, const at::Tensor& query_positions, const at::Tensor& row_offsets,
    const at::Tensor& row_numbers, int64_t heads, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
    const Counter& counter = std::nullopt);

/// The weight that a forward pass multiplies with, in `dtype`; schema.cpp says what the arguments are.
at::Tensor mixout(const at::Tensor& values, const at::Tensor& target, const std::optional<at::Tensor>& mask,
                  at::ArrayRef<double> p, bool column, bool exact_gradient, at::ScalarType dtype, int64_t seed,
                  int64_t layer, int64_t site, int64_t step, int64_t micro_batch,
                  const Counter& counter = std::nullopt);

at::Tensor mixout_backward(const at::Tensor& grad_output, const std::optional<at::Tensor>& mask, at::ArrayRef<double> p,
                           bool column, bool exact_gradient, int64_t seed, int64_t layer, int64_t site, int64_t step,
                           int64_t micro_batch, const Counter& counter = std::nullopt);

void adamw_(const at::Tensor& values, const at::Tensor& gradients, const at::Tensor& moment1, const at::Tensor& moment2,
            const std::optional<at::Tensor>& start, const at::Tensor& bounds, const at::Tensor& settings,
            const at::Tensor& flags, const at::Tensor& squared_norm, double lr, double beta1, double beta2, double eps,
            bool bias_correction, int64_t step, double max_grad_norm, const std::optional<at::Tensor>& compute);

/// adamw_ with the learning rate, step and loss read from the device; schema.cpp says what the arguments are.
void adamw_scheduled_(const at::Tensor& values, const at::Tensor& gradients, const at::Tensor& moment1,
                      const at::Tensor& moment2, const std::optional<at::Tensor>& start, const at::Tensor& bounds,
                      const at::Tensor& settings, const at::Tensor& flags, const at::Tensor& squared_norm,
                      const at::Tensor& loss, const at::Tensor& lr, const at::Tensor& counter,
                      const at::Tensor& diverged_at, double beta1, double beta2, double eps, bool bias_correction,
                      double max_grad_norm, const std::optional<at::Tensor>& compute);

at::Tensor squared_norm(const at::Tensor& gradients, const at::Tensor& bounds, const at::Tensor& flags);

at::Tensor segment_squared_distance(const at::Tensor& values, const at::Tensor& start, const at::Tensor& bounds);

void normal_(const at::Tensor& x, double std, int64_t seed, int64_t stream, int64_t layer, int64_t site);

/// dropout(act(x + bias)); `activation` is one of kernels/activation.h.
at::Tensor bias_activation(const at::Tensor& x, const at::Tensor& bias, int64_t activation, const at::Tensor& rows,
                           const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site,
                           int64_t step, const Counter& counter = std::nullopt);

/// {grad_x, grad_bias}
std::tuple<at::Tensor, at::Tensor> bias_activation_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                                            const at::Tensor& bias, int64_t activation,
                                                            const at::Tensor& rows, const at::Tensor& positions,
                                                            double p, int64_t seed, int64_t layer, int64_t site,
                                                            int64_t step, const Counter& counter = std::nullopt);

/// {widened, pooled, logits, loss, grad_logits}; schema.cpp says what the arguments are.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> head_loss(
    const at::Tensor& x, const at::Tensor& dense, const at::Tensor& dense_bias, const at::Tensor& output,
    const at::Tensor& output_bias, const std::optional<at::Tensor>& labels, int64_t activation, const at::Tensor& rows,
    const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
    const Counter& counter = std::nullopt);

/// {scaled, grad_widened, grad_dense_bias, grad_output_bias}
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> head_loss_backward(
    const at::Tensor& grad_loss, const at::Tensor& grad_logits, const at::Tensor& widened, const at::Tensor& dense_bias,
    const at::Tensor& output, int64_t activation, const at::Tensor& rows, const at::Tensor& positions, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const Counter& counter = std::nullopt);

/// {LayerNorm(residual + dropout(x + bias)) weight + norm_bias, normalized, rstd}
std::tuple<at::Tensor, at::Tensor, at::Tensor> dropout_add_norm(const at::Tensor& x, const at::Tensor& bias,
                                                                const at::Tensor& residual, const at::Tensor& weight,
                                                                const at::Tensor& norm_bias, double eps,
                                                                const at::Tensor& rows, const at::Tensor& positions,
                                                                double p, int64_t seed, int64_t layer, int64_t site,
                                                                int64_t step, const Counter& counter = std::nullopt);

/// {grad_x, grad_residual, grad_bias, grad_weight, grad_norm_bias}. Without dropout grad_x is grad_residual itself: who
/// writes into one must be done with the other.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> dropout_add_norm_backward(
    const at::Tensor& grad_y, const at::Tensor& normalized, const at::Tensor& rstd, const at::Tensor& weight,
    const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site,
    int64_t step, const Counter& counter = std::nullopt);

/// float32 [C]: sums of x [T, C] over the tokens.
at::Tensor column_sums(const at::Tensor& x);

/// {y, normalized, rstd}: embeddings summed, normalized and dropped.
std::tuple<at::Tensor, at::Tensor, at::Tensor> embed(const at::Tensor& word, const at::Tensor& position,
                                                     const std::optional<at::Tensor>& segment,
                                                     const at::Tensor& word_ids, const at::Tensor& position_ids,
                                                     const std::optional<at::Tensor>& segment_ids, double word_scale,
                                                     const at::Tensor& weight, const at::Tensor& norm_bias, double eps,
                                                     at::ScalarType dtype, const at::Tensor& rows,
                                                     const at::Tensor& positions, double p, int64_t seed, int64_t layer,
                                                     int64_t site, int64_t step, const Counter& counter = std::nullopt);

/// {grad_weight, grad_norm_bias}; adds to the tables' gradients that are given.
std::tuple<at::Tensor, at::Tensor> embed_backward(
    const at::Tensor& grad_y, const at::Tensor& normalized, const at::Tensor& rstd, const at::Tensor& weight,
    const at::Tensor& word_ids, const at::Tensor& position_ids, const std::optional<at::Tensor>& segment_ids,
    double word_scale, const std::optional<at::Tensor>& grad_word, const std::optional<at::Tensor>& grad_position,
    const std::optional<at::Tensor>& grad_segment, const at::Tensor& rows, const at::Tensor& positions, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const Counter& counter = std::nullopt);

}  // namespace steadytune::operators
