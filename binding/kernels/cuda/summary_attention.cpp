#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "kernels/cuda/operators.h"

namespace steadytune::kernels::cuda {
namespace {

AttentionBatch checked_batch(const char* op, const at::Tensor& query, const at::Tensor& key_value,
                             const at::Tensor& row_offsets, const at::Tensor& row_numbers, const at::Tensor& positions,
                             int64_t heads) {
  check_summary_attention(op, query, key_value, row_offsets, row_numbers, positions, heads);
  const int64_t head_size = query.size(1) / heads;
  TORCH_CHECK(head_size <= most_head_size, "steadytune::", op, ": heads of ", head_size, " columns are wider than ",
              most_head_size, ", the most on CUDA.");
  return {
      .offsets = row_offsets.const_data_ptr<int32_t>(),
      .numbers = row_numbers.const_data_ptr<int32_t>(),
      .rows = row_numbers.numel(),
      .tokens = key_value.size(0),
      .heads = heads,
      .head_size = head_size,
      .causal = false,
  };
}

std::tuple<at::Tensor, at::Tensor> summary_attention_operator(const at::Tensor& query, const at::Tensor& key_value,
                                                              const at::Tensor& row_offsets,
                                                              const at::Tensor& row_numbers,
                                                              const at::Tensor& positions, int64_t heads, double p,
                                                              int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                              const std::optional<at::Tensor>& counter) {
  const char* op = "summary_attention";
  const AttentionBatch batch = checked_batch(op, query, key_value, row_offsets, row_numbers, positions, heads);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, query);
  const OnDevice device(op, query);
  at::Tensor output = at::empty_like(query);
  at::Tensor logsumexp = at::empty({heads, batch.rows}, query.options().dtype(at::kFloat));
  dispatch_floating(query.scalar_type(), [&]<typename Scalar>() {
    const SummaryAttention<Scalar> tensors{batch, positions.const_data_ptr<int32_t>(), query.const_data_ptr<Scalar>(),
                                           key_value.const_data_ptr<Scalar>()};
    device.check(summary_attention(device.stream(), tensors, draw, output.mutable_data_ptr<Scalar>(),
                                   logsumexp.mutable_data_ptr<float>()));
  });
  return {output, logsumexp};
}

std::tuple<at::Tensor, at::Tensor> summary_attention_backward_operator(
    const at::Tensor& grad_output, const at::Tensor& query, const at::Tensor& key_value, const at::Tensor& logsumexp,
    const at::Tensor& row_offsets, const at::Tensor& row_numbers, const at::Tensor& positions, int64_t heads, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "summary_attention_backward";
  const AttentionBatch batch = checked_batch(op, query, key_value, row_offsets, row_numbers, positions, heads);
  check_query_grads(op, grad_output, query, logsumexp, heads);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, query);
  const OnDevice device(op, query);
  at::Tensor grad_query = at::empty_like(query);
  at::Tensor grad_key_value = at::empty_like(key_value);
  dispatch_floating(query.scalar_type(), [&]<typename Scalar>() {
    const SummaryAttention<Scalar> tensors{batch, positions.const_data_ptr<int32_t>(), query.const_data_ptr<Scalar>(),
                                           key_value.const_data_ptr<Scalar>()};
    device.check(summary_attention_backward(device.stream(), tensors, draw, grad_output.const_data_ptr<Scalar>(),
                                            logsumexp.const_data_ptr<float>(), grad_query.mutable_data_ptr<Scalar>(),
                                            grad_key_value.mutable_data_ptr<Scalar>()));
  });
  return {grad_query, grad_key_value};
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("summary_attention", summary_attention_operator);
  m.impl("summary_attention_backward", summary_attention_backward_operator);
}

}  // namespace steadytune::kernels::cuda
