#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cpu/attention_tasks.h"
#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/tokens.h"

namespace steadytune::kernels::cpu {
namespace {

AttentionOffsets checked_offsets(const char* op, const RelativeTensors& in, int64_t heads) {
  check_relative_attention(op, in, heads);
  check_offsets(op, in.row_offsets, in.key.size(0));
  check_offsets(op, in.query_offsets, in.query.size(0));
  const AttentionOffsets offsets{in.query_offsets.const_data_ptr<int32_t>(), in.row_offsets.const_data_ptr<int32_t>(),
                                 in.row_numbers.numel()};
  const int32_t* positions = in.query_positions.const_data_ptr<int32_t>();
  for (int64_t row = 0; row < offsets.rows; ++row) {
    TORCH_CHECK(positions[row] >= 0 && positions[row] + offsets.queries_of(row) <= offsets.keys_of(row),
                "steadytune::", op, ": ", offsets.queries_of(row), " queries from position ", positions[row],
                " on are not among the ", offsets.keys_of(row), " tokens of row ", row, ".");
  }
  return offsets;
}

template <typename Scalar>
RelativeRow<Scalar> relative_row(const RelativeTensors& in, const AttentionOffsets& offsets, int64_t row,
                                 int64_t heads) {
  const int64_t hidden = in.query.size(1);
  const int64_t query = offsets.queries[row];
  const int64_t key = offsets.keys[row];
  return {
      .query = in.query.const_data_ptr<Scalar>() + query * hidden,
      .key = in.key.const_data_ptr<Scalar>() + key * hidden,
      .value = in.value.const_data_ptr<Scalar>() + key * hidden,
      .relative = in.relative.const_data_ptr<Scalar>() + (key + query) * hidden,
      .vectors = in.vectors.const_data_ptr<float>(),
      .segments = in.segment_ids.const_data_ptr<int32_t>() + key,
      .queries = offsets.queries_of(row),
      .length = offsets.keys_of(row),
      .heads = heads,
      .head_size = hidden / heads,
      .row = static_cast<uint32_t>(in.row_numbers.const_data_ptr<int32_t>()[row]),
      .position = in.query_positions.const_data_ptr<int32_t>()[row],
  };
}

std::tuple<at::Tensor, at::Tensor> relative_attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& relative,
    const at::Tensor& vectors, const at::Tensor& segment_ids, const at::Tensor& query_offsets,
    const at::Tensor& query_positions, const at::Tensor& row_offsets, const at::Tensor& row_numbers, int64_t heads,
    double p, int64_t seed, int64_t layer, int64_t site, int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "relative_attention";
  const RelativeTensors in{query,       key,           value,           relative,    vectors,
                           segment_ids, query_offsets, query_positions, row_offsets, row_numbers};
  const AttentionOffsets offsets = checked_offsets(op, in, heads);
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, query);
  const int64_t hidden = query.size(1);
  at::Tensor output = empty_tokens_like(query);
  at::Tensor logsumexp = at::empty({heads, query.size(0)}, query.options().dtype(at::kFloat));
  const VectorKernels& kernels = vector_kernels();
  const int64_t floats = kernels.relative_attention_scratch(offsets.longest(), hidden / heads);
  const std::vector<AttentionTask> tasks = plan_attention(offsets, heads, forward_task_queries);
  dispatch_floating(query.scalar_type(), [&]<typename Scalar>() {
    run_attention(tasks, floats, [&](const AttentionTask& task, float* scratch) {
      const int64_t first = offsets.queries[task.row];
      const RelativeForward<Scalar> row{
          .row = relative_row<Scalar>(in, offsets, task.row, heads),
          .output = output.mutable_data_ptr<Scalar>() + first * hidden,
          .logsumexp = logsumexp.mutable_data_ptr<float>() + first,
          .logsumexp_stride = logsumexp.size(1),
      };
      kernels.of<Scalar>().relative_attention(row, task.heads, task.queries, draw, scratch);
    });
  });
  return {output, logsumexp};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> relative_attention_backward(
    const at::Tensor& grad_output, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& relative, const at::Tensor& vectors, const at::Tensor& logsumexp, const at::Tensor& segment_ids,
    const at::Tensor& query_offsets, const at::Tensor& query_positions, const at::Tensor& row_offsets,
    const at::Tensor& row_numbers, int64_t heads, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
    const std::optional<at::Tensor>& counter) {
  const char* op = "relative_attention_backward";
  const RelativeTensors in{query,       key,           value,           relative,    vectors,
                           segment_ids, query_offsets, query_positions, row_offsets, row_numbers};
  const AttentionOffsets offsets = checked_offsets(op, in, heads);
  check_query_grads(op, grad_output, query, logsumexp, heads);
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, query);
  const int64_t hidden = query.size(1);
  at::Tensor grad_query = empty_tokens_like(query);
  at::Tensor grad_key = empty_tokens_like(key);
  at::Tensor grad_value = empty_tokens_like(value);
  at::Tensor grad_relative = empty_tokens_like(relative);
  // Those of each row by itself, to be added in the order of the rows.
  at::Tensor by_row = at::zeros({offsets.rows, vectors.numel()}, vectors.options());
  const VectorKernels& kernels = vector_kernels();
  const int64_t longest = offsets.longest();
  const int64_t floats = kernels.relative_attention_backward_scratch(longest, hidden / heads);
  // Gradients of keys and values sum over all queries, so the queries of a row stay together.
  const std::vector<AttentionTask> tasks = plan_attention(offsets, heads, longest);
  dispatch_floating(query.scalar_type(), [&]<typename Scalar>() {
    run_attention(tasks, floats, [&](const AttentionTask& task, float* scratch) {
      const int64_t asks = offsets.queries[task.row];
      const int64_t first = offsets.keys[task.row];
      const RelativeBackward<Scalar> row{
          .row = relative_row<Scalar>(in, offsets, task.row, heads),
          .grad_output = grad_output.const_data_ptr<Scalar>() + asks * hidden,
          .logsumexp = logsumexp.const_data_ptr<float>() + asks,
          .logsumexp_stride = logsumexp.size(1),
          .grad_query = grad_query.mutable_data_ptr<Scalar>() + asks * hidden,
          .grad_key = grad_key.mutable_data_ptr<Scalar>() + first * hidden,
          .grad_value = grad_value.mutable_data_ptr<Scalar>() + first * hidden,
          .grad_relative = grad_relative.mutable_data_ptr<Scalar>() + (first + asks) * hidden,
          .grad_vectors = by_row.mutable_data_ptr<float>() + task.row * vectors.numel(),
      };
      kernels.of<Scalar>().relative_attention_backward(row, task.heads, draw, scratch);
    });
  });
  ColumnSums sums(offsets.rows, vectors.numel());
  sums.for_each_chunk([&](int64_t begin, int64_t end, float* part) {
    kernels.float32.column_sums(by_row.const_data_ptr<float>() + begin * vectors.numel(), end - begin, vectors.numel(),
                                part);
  });
  return {grad_query, grad_key, grad_value, grad_relative, sums.total().view(vectors.sizes())};
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) {
  m.impl("relative_attention", relative_attention);
  m.impl("relative_attention_backward", relative_attention_backward);
}

}  // namespace steadytune::kernels::cpu
