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

AttentionBatch checked_batch(const char* op, const at::Tensor& qkv, const at::Tensor& row_offsets,
                             const at::Tensor& row_numbers, int64_t heads, bool causal) {
  const int64_t hidden = check_attention(op, qkv, row_offsets, row_numbers, heads);
  TORCH_CHECK(hidden / heads <= most_head_size, "steadytune::", op, ": heads of ", hidden / heads,
              " columns are wider than ", most_head_size, ", the most on CUDA.");
  TORCH_CHECK(qkv.size(0) <= INT32_MAX, "steadytune::", op, ": ", qkv.size(0), " tokens are too many.");
  return {
      .offsets = row_offsets.const_data_ptr<int32_t>(),
      .numbers = row_numbers.const_data_ptr<int32_t>(),
      .rows = row_numbers.numel(),
      .tokens = qkv.size(0),
      .heads = heads,
      .head_size = hidden / heads,
      .causal = causal,
  };
}

std::tuple<at::Tensor, at::Tensor> packed_attention(const at::Tensor& qkv_any, const at::Tensor& row_offsets,
                                                    const at::Tensor& row_numbers, int64_t heads, bool causal, double p,
                                                    int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                    const std::optional<at::Tensor>& counter) {
  const char* op = "packed_attention";
  const AttentionBatch batch = checked_batch(op, qkv_any, row_offsets, row_numbers, heads, causal);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, qkv_any);
  const OnDevice device(op, qkv_any);
  const at::Tensor qkv = qkv_any.contiguous();
  at::Tensor output = at::empty({batch.tokens, heads * batch.head_size}, qkv.options());
  at::Tensor logsumexp = at::empty({heads, batch.tokens}, qkv.options().dtype(at::kFloat));
  dispatch_floating(qkv.scalar_type(), [&]<typename Scalar>() {
    device.check(attention(device.stream(), batch, draw, qkv.const_data_ptr<Scalar>(),
                           output.mutable_data_ptr<Scalar>(), logsumexp.mutable_data_ptr<float>()));
  });
  return {output, logsumexp};
}

at::Tensor packed_attention_backward(const at::Tensor& grad_output_any, const at::Tensor& qkv_any,
                                     const at::Tensor& output, const at::Tensor& logsumexp,
                                     const at::Tensor& row_offsets, const at::Tensor& row_numbers, int64_t heads,
                                     bool causal, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
                                     const std::optional<at::Tensor>& counter) {
  const char* op = "packed_attention_backward";
  const AttentionBatch batch = checked_batch(op, qkv_any, row_offsets, row_numbers, heads, causal);
  check_attention_grads(op, grad_output_any, qkv_any, output, logsumexp, heads);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, qkv_any);
  const OnDevice device(op, qkv_any);
  const at::Tensor qkv = qkv_any.contiguous();
  const at::Tensor grad_output = grad_output_any.contiguous();
  at::Tensor grad_qkv = at::empty_like(qkv);
  at::Tensor means = at::empty_like(logsumexp);
  dispatch_floating(qkv.scalar_type(), [&]<typename Scalar>() {
    device.check(attention_backward(device.stream(), batch, draw, grad_output.const_data_ptr<Scalar>(),
                                    qkv.const_data_ptr<Scalar>(), logsumexp.const_data_ptr<float>(),
                                    means.mutable_data_ptr<float>(), grad_qkv.mutable_data_ptr<Scalar>()));
  });
  return grad_qkv;
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("packed_attention", packed_attention);
  m.impl("packed_attention_backward", packed_attention_backward);
}

}  // namespace steadytune::kernels::cuda
