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

void check(const char* op, const RelativeTensors& in, int64_t heads) {
  check_relative_attention(op, in, heads);
  const int64_t head_size = in.query.size(1) / heads;
  TORCH_CHECK(head_size <= most_head_size, "steadytune::", op, ": heads of ", head_size, " columns are wider than ",
              most_head_size, ", the most on CUDA.");
  TORCH_CHECK(in.relative.size(0) <= INT32_MAX, "steadytune::", op, ": ", in.relative.size(0),
              " relative keys are too many.");
}

template <typename Scalar>
RelativeAttention<Scalar> pointers(const RelativeTensors& in, int64_t heads) {
  return {
      .batch = {.offsets = in.row_offsets.const_data_ptr<int32_t>(),
                .numbers = in.row_numbers.const_data_ptr<int32_t>(),
                .rows = in.row_numbers.numel(),
                .tokens = in.key.size(0),
                .heads = heads,
                .head_size = in.query.size(1) / heads,
                .causal = false},
      .query_offsets = in.query_offsets.const_data_ptr<int32_t>(),
      .queries = in.query.size(0),
      .query_positions = in.query_positions.const_data_ptr<int32_t>(),
      .segments = in.segment_ids.const_data_ptr<int32_t>(),
      .query = in.query.const_data_ptr<Scalar>(),
      .key = in.key.const_data_ptr<Scalar>(),
      .value = in.value.const_data_ptr<Scalar>(),
      .relative = in.relative.const_data_ptr<Scalar>(),
      .vectors = in.vectors.const_data_ptr<float>(),
  };
}

std::tuple<at::Tensor, at::Tensor> relative_attention_operator(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& relative,
    const at::Tensor& vectors, const at::Tensor& segment_ids, const at::Tensor& query_offsets,
    const at::Tensor& query_positions, const at::Tensor& row_offsets, const at::Tensor& row_numbers, int64_t heads,
    double p, int64_t seed, int64_t layer, int64_t site, int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "relative_attention";
  const RelativeTensors in{query,       key,           value,           relative,    vectors,
                           segment_ids, query_offsets, query_positions, row_offsets, row_numbers};
  check(op, in, heads);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, query);
  const OnDevice device(op, query);
  at::Tensor output = at::empty_like(query);
  at::Tensor logsumexp = at::empty({heads, query.size(0)}, query.options().dtype(at::kFloat));
  dispatch_floating(query.scalar_type(), [&]<typename Scalar>() {
    device.check(relative_attention(device.stream(), pointers<Scalar>(in, heads), draw,
                                    output.mutable_data_ptr<Scalar>(), logsumexp.mutable_data_ptr<float>()));
  });
  return {output, logsumexp};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> relative_attention_backward_operator(
    const at::Tensor& grad_output, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& relative, const at::Tensor& vectors, const at::Tensor& logsumexp, const at::Tensor& segment_ids,
    const at::Tensor& query_offsets, const at::Tensor& query_positions, const at::Tensor& row_offsets,
    const at::Tensor& row_numbers, int64_t heads, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
    const std::optional<at::Tensor>& counter) {
  const char* op = "relative_attention_backward";
  const RelativeTensors in{query,       key,           value,           relative,    vectors,
                           segment_ids, query_offsets, query_positions, row_offsets, row_numbers};
  check(op, in, heads);
  check_query_grads(op, grad_output, query, logsumexp, heads);
  const DeviceDraw draw = device_draw(op, p, seed, layer, site, step, counter, query);
  const OnDevice device(op, query);
  at::Tensor grad_query = at::empty_like(query);
  at::Tensor grad_key = at::empty_like(key);
  at::Tensor grad_value = at::empty_like(value);
  at::Tensor grad_relative = at::empty_like(relative);
  at::Tensor by_tile = at::empty(
      {relative_query_tiles(query.size(0), row_numbers.numel()), vectors.size(0), vectors.size(1)}, vectors.options());
  at::Tensor means = at::empty_like(logsumexp);
  dispatch_floating(query.scalar_type(), [&]<typename Scalar>() {
    const RelativeGradients<Scalar> grads{
        .query = grad_query.mutable_data_ptr<Scalar>(),
        .key = grad_key.mutable_data_ptr<Scalar>(),
        .value = grad_value.mutable_data_ptr<Scalar>(),
        .relative = grad_relative.mutable_data_ptr<Scalar>(),
        .vectors = by_tile.mutable_data_ptr<float>(),
        .means = means.mutable_data_ptr<float>(),
    };
    device.check(relative_attention_backward(device.stream(), pointers<Scalar>(in, heads), draw,
                                             grad_output.const_data_ptr<Scalar>(), logsumexp.const_data_ptr<float>(),
                                             grads));
  });
  return {grad_query, grad_key, grad_value, grad_relative, by_tile.sum(0)};
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("relative_attention", relative_attention_operator);
  m.impl("relative_attention_backward", relative_attention_backward_operator);
}

}  // namespace steadytune::kernels::cuda
