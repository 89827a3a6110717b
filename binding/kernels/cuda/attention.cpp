#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <tuple>

#include "kernels/cuda/operators.h"

namespace steadytune::kernels::cuda {
namespace {

/// Of the tokens of `query` [T, h].
AttentionBatch checked_batch(const char* op, const at::Tensor& query, const at::Tensor& row_offsets,
                             const at::Tensor& row_numbers, int64_t heads, bool causal) {
  const int64_t head_size = query.size(1) / heads;
  TORCH_CHECK(head_size <= most_head_size, "steadytune::", op, ": heads of ", head_size, " columns are wider than ",
              most_head_size, ", the most on CUDA.");
  TORCH_CHECK(query.size(0) <= INT32_MAX, "steadytune::", op, ": ", query.size(0), " tokens are too many.");
  return {
      .offsets = row_offsets.const_data_ptr<int32_t>(),
      .numbers = row_numbers.const_data_ptr<int32_t>(),
      .rows = row_numbers.numel(),
      .tokens = query.size(0),
      .heads = heads,
      .head_size = head_size,
      .causal = causal,
  };
}

/// `query` [T, h] and `key_value` [T, 2h] may be columns of one matrix.
std::tuple<at::Tensor, at::Tensor> forward(const char* op, const at::Tensor& query, const at::Tensor& key_value,
                                           const AttentionBatch& batch, const DeviceDraw& draw) {
  const OnDevice device(op, query);
  at::Tensor output = at::empty(query.sizes(), query.options());
  at::Tensor logsumexp = at::empty({batch.heads, batch.tokens}, query.options().dtype(at::kFloat));
  dispatch_floating(query.scalar_type(), [&]<typename Scalar>() {
    const AttentionTokens<const Scalar> tokens{query.const_data_ptr<Scalar>(), query.stride(0),
                                               key_value.const_data_ptr<Scalar>(), key_value.stride(0)};
    device.check(attention(device.stream(), batch, draw, tokens, output.mutable_data_ptr<Scalar>(),
                           logsumexp.mutable_data_ptr<float>()));
  });
  return {output, logsumexp};
}

/// `grad_query` and `grad_key_value` may be columns of one matrix, too.
void backward(const char* op, const at::Tensor& grad_output, const at::Tensor& query, const at::Tensor& key_value,
              const at::Tensor& logsumexp, const AttentionBatch& batch, const DeviceDraw& draw,
              const at::Tensor& grad_query, const at::Tensor& grad_key_value) {
  const OnDevice device(op, query);
  at::Tensor means = at::empty_like(logsumexp);
  dispatch_floating(query.scalar_type(), [&]<typename Scalar>() {
    const AttentionTokens<const Scalar> tokens{query.const_data_ptr<Scalar>(), query.stride(0),
                                               key_value.const_data_ptr<Scalar>(), key_value.stride(0)};
    const AttentionTokens<Scalar> grads{grad_query.mutable_data_ptr<Scalar>(), grad_query.stride(0),
                                        grad_key_value.mutable_data_ptr<Scalar>(), grad_key_value.stride(0)};
    device.check(attention_backward(device.stream(), batch, draw, grad_output.const_data_ptr<Scalar>(), tokens,
                                    logsumexp.const_data_ptr<float>(), means.mutable_data_ptr<float>(), grads));
  });
}

std::tuple<at::Tensor, at::Tensor> packed_attention(const at::Tensor& qkv_any, const at::Tensor& row_offsets,
                                                    const at::Tensor& row_numbers, int64_t heads, bool causal, double p,
                                                    int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                    const std::optional<at::Tensor>& counter) {
  const char* op = "packed_attention";
  const int64_t hidden = check_attention(op, qkv_any, row_offsets, row_numbers, heads);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, qkv_any);
  const at::Tensor qkv = qkv_any.contiguous();
  const at::Tensor query = qkv.narrow(1, 0, hidden);
  return forward(op, query, qkv.narrow(1, hidden, 2 * hidden),
                 checked_batch(op, query, row_offsets, row_numbers, heads, causal), draw);
}

at::Tensor packed_attention_backward(const at::Tensor& grad_output, const at::Tensor& qkv_any, const at::Tensor& output,
                                     const at::Tensor& logsumexp, const at::Tensor& row_offsets,
                                     const at::Tensor& row_numbers, int64_t heads, bool causal, double p, int64_t seed,
                                     int64_t layer, int64_t site, int64_t step,
                                     const std::optional<at::Tensor>& counter) {
  const char* op = "packed_attention_backward";
  const int64_t hidden = check_attention(op, qkv_any, row_offsets, row_numbers, heads);
  check_attention_grads(op, grad_output, qkv_any, output, logsumexp, heads);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, qkv_any);
  const at::Tensor qkv = qkv_any.contiguous();
  const at::Tensor query = qkv.narrow(1, 0, hidden);
  at::Tensor grad_qkv = at::empty_like(qkv);
  backward(op, grad_output.contiguous(), query, qkv.narrow(1, hidden, 2 * hidden), logsumexp,
           checked_batch(op, query, row_offsets, row_numbers, heads, causal), draw, grad_qkv.narrow(1, 0, hidden),
           grad_qkv.narrow(1, hidden, 2 * hidden));
  return grad_qkv;
}

std::tuple<at::Tensor, at::Tensor> cross_attention(const at::Tensor& query, const at::Tensor& key_value,
                                                   const at::Tensor& row_offsets, const at::Tensor& row_numbers,
                                                   int64_t heads, double p, int64_t seed, int64_t layer, int64_t site,
                                                   int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "cross_attention";
  check_cross_attention(op, query, key_value, row_offsets, row_numbers, heads);
  return forward(op, query, key_value, checked_batch(op, query, row_offsets, row_numbers, heads, false),
                 device_draw(op, p, seed, layer, site, step, counter, query));
}

std::tuple<at::Tensor, at::Tensor> cross_attention_backward(const at::Tensor& grad_output, const at::Tensor& query,
                                                            const at::Tensor& key_value, const at::Tensor& logsumexp,
                                                            const at::Tensor& row_offsets,
                                                            const at::Tensor& row_numbers, int64_t heads, double p,
                                                            int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                            const std::optional<at::Tensor>& counter) {
  const char* op = "cross_attention_backward";
  check_cross_attention(op, query, key_value, row_offsets, row_numbers, heads);
  check_query_grads(op, grad_output, query, logsumexp, heads);
  at::Tensor grad_query = at::empty_like(query);
  at::Tensor grad_key_value = at::empty_like(key_value);
  backward(op, grad_output, query, key_value, logsumexp,
           checked_batch(op, query, row_offsets, row_numbers, heads, false),
           device_draw(op, p, seed, layer, site, step, counter, query), grad_query, grad_key_value);
  return {grad_query, grad_key_value};
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("packed_attention", packed_attention);
  m.impl("packed_attention_backward", packed_attention_backward);
  m.impl("cross_attention", cross_attention);
  m.impl("cross_attention_backward", cross_attention_backward);
}

}  // namespace steadytune::kernels::cuda
