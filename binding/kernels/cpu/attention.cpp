#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cpu/attention_tasks.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/tokens.h"

namespace steadytune::kernels::cpu {
namespace {

/// Attention of a batch's tokens, by whichever operator: `query` [T, h] and `key_value` [T, 2h] may be columns of one
/// matrix.
struct Attention {
  const at::Tensor& query;
  const at::Tensor& key_value;
  const at::Tensor& row_offsets;
  const at::Tensor& row_numbers;
  int64_t heads;
  bool causal;
  DropoutDraw draw;

  int64_t hidden() const { return query.size(1); }

  AttentionOffsets offsets() const {
    const auto* keys = row_offsets.const_data_ptr<int32_t>();
    return {keys, keys, row_numbers.numel()};
  }

  template <typename Scalar>
  AttentionRow<Scalar> row(int64_t number) const {
    const AttentionOffsets all = offsets();
    return {
        .query = query.const_data_ptr<Scalar>() + all.keys[number] * query.stride(0),
        .query_stride = query.stride(0),
        .key_value = key_value.const_data_ptr<Scalar>() + all.keys[number] * key_value.stride(0),
        .key_value_stride = key_value.stride(0),
        .length = all.keys_of(number),
        .heads = heads,
        .head_size = hidden() / heads,
        .row = static_cast<uint32_t>(row_numbers.const_data_ptr<int32_t>()[number]),
        .causal = causal,
    };
  }
};

std::tuple<at::Tensor, at::Tensor> forward(const Attention& attention) {
  const auto [tokens, hidden] = std::pair(attention.query.size(0), attention.hidden());
  const auto options = attention.query.options();
  at::Tensor output = empty_tokens(tokens, hidden, options);
  at::Tensor logsumexp = at::empty({attention.heads, tokens}, options.dtype(at::kFloat));
  const AttentionOffsets offsets = attention.offsets();
  const VectorKernels& kernels = vector_kernels();
  const std::vector<AttentionTask> tasks = plan_attention(offsets, attention.heads, forward_task_queries);
  dispatch_floating(options.dtype().toScalarType(), [&]<typename Scalar>() {
    const int64_t floats = kernels.of<Scalar>().attention_forward_scratch(offsets.longest(), hidden / attention.heads);
    run_attention(tasks, floats, [&](const AttentionTask& task, float* scratch) {
      const int64_t first = offsets.keys[task.row];
      const AttentionForward<Scalar> row{
          .row = attention.row<Scalar>(task.row),
          .output = output.mutable_data_ptr<Scalar>() + first * output.size(1),
          .logsumexp = logsumexp.mutable_data_ptr<float>() + first,
          .logsumexp_stride = logsumexp.size(1),
      };
      kernels.of<Scalar>().attention_forward(row, task.heads, task.queries, attention.draw, scratch);
    });
  });
  return {output, logsumexp};
}

/// `grad_query` and `grad_key_value` lie as query and key_value do.
void backward(const Attention& attention, const at::Tensor& grad_output, const at::Tensor& logsumexp,
              const at::Tensor& grad_query, const at::Tensor& grad_key_value) {
  const AttentionOffsets offsets = attention.offsets();
  const VectorKernels& kernels = vector_kernels();
  const int64_t longest = offsets.longest();
  // Gradients of keys and values sum over all queries, so the queries of a row stay together.
  const std::vector<AttentionTask> tasks = plan_attention(offsets, attention.heads, longest);
  dispatch_floating(grad_output.scalar_type(), [&]<typename Scalar>() {
    const int64_t floats =
        kernels.of<Scalar>().attention_backward_scratch(longest, attention.hidden() / attention.heads);
    run_attention(tasks, floats, [&](const AttentionTask& task, float* scratch) {
      const int64_t first = offsets.keys[task.row];
      const AttentionBackward<Scalar> row{
          .row = attention.row<Scalar>(task.row),
          .grad_output = grad_output.const_data_ptr<Scalar>() + first * grad_output.size(1),
          .logsumexp = logsumexp.const_data_ptr<float>() + first,
          .logsumexp_stride = logsumexp.size(1),
          .grad_query = grad_query.mutable_data_ptr<Scalar>() + first * grad_query.stride(0),
          .grad_key_value = grad_key_value.mutable_data_ptr<Scalar>() + first * grad_key_value.stride(0),
      };
      kernels.of<Scalar>().attention_backward(row, task.heads, attention.draw, scratch);
    });
  });
}

std::tuple<at::Tensor, at::Tensor> packed_attention(const at::Tensor& qkv_any, const at::Tensor& row_offsets,
                                                    const at::Tensor& row_numbers, int64_t heads, bool causal, double p,
                                                    int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                    const std::optional<at::Tensor>& counter) {
  const char* op = "packed_attention";
  const int64_t hidden = check_attention(op, qkv_any, row_offsets, row_numbers, heads);
  check_offsets(op, row_offsets, qkv_any.size(0));
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, qkv_any);
  const at::Tensor qkv = qkv_any.contiguous();
  const at::Tensor query = qkv.narrow(1, 0, hidden);
  const at::Tensor key_value = qkv.narrow(1, hidden, 2 * hidden);
  return forward({query, key_value, row_offsets, row_numbers, heads, causal, draw});
}

at::Tensor packed_attention_backward(const at::Tensor& grad_output, const at::Tensor& qkv_any, const at::Tensor& output,
                                     const at::Tensor& logsumexp, const at::Tensor& row_offsets,
                                     const at::Tensor& row_numbers, int64_t heads, bool causal, double p, int64_t seed,
                                     int64_t layer, int64_t site, int64_t step,
                                     const std::optional<at::Tensor>& counter) {
  const char* op = "packed_attention_backward";
  const int64_t hidden = check_attention(op, qkv_any, row_offsets, row_numbers, heads);
  check_offsets(op, row_offsets, qkv_any.size(0));
  check_attention_grads(op, grad_output, qkv_any, output, logsumexp, heads);
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, qkv_any);
  const at::Tensor qkv = qkv_any.contiguous();
  const at::Tensor query = qkv.narrow(1, 0, hidden);
  const at::Tensor key_value = qkv.narrow(1, hidden, 2 * hidden);
  const at::Tensor grad_qkv = empty_tokens_like(qkv);
  backward({query, key_value, row_offsets, row_numbers, heads, causal, draw}, grad_output.contiguous(), logsumexp,
           grad_qkv.narrow(1, 0, hidden), grad_qkv.narrow(1, hidden, 2 * hidden));
  return grad_qkv;
}

std::tuple<at::Tensor, at::Tensor> cross_attention(const at::Tensor& query, const at::Tensor& key_value,
                                                   const at::Tensor& row_offsets, const at::Tensor& row_numbers,
                                                   int64_t heads, double p, int64_t seed, int64_t layer, int64_t site,
                                                   int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "cross_attention";
  check_cross_attention(op, query, key_value, row_offsets, row_numbers, heads);
  check_offsets(op, row_offsets, query.size(0));
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, query);
  return forward({query, key_value, row_offsets, row_numbers, heads, false, draw});
}

std::tuple<at::Tensor, at::Tensor> cross_attention_backward(const at::Tensor& grad_output, const at::Tensor& query,
                                                            const at::Tensor& key_value, const at::Tensor& logsumexp,
                                                            const at::Tensor& row_offsets,
                                                            const at::Tensor& row_numbers, int64_t heads, double p,
                                                            int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                            const std::optional<at::Tensor>& counter) {
  const char* op = "cross_attention_backward";
  check_cross_attention(op, query, key_value, row_offsets, row_numbers, heads);
  check_offsets(op, row_offsets, query.size(0));
  check_query_grads(op, grad_output, query, logsumexp, heads);
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, query);
  at::Tensor grad_query = empty_tokens_like(query);
  at::Tensor grad_key_value = empty_tokens_like(key_value);
  backward({query, key_value, row_offsets, row_numbers, heads, false, draw}, grad_output, logsumexp, grad_query,
           grad_key_value);
  return {grad_query, grad_key_value};
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) {
  m.impl("packed_attention", packed_attention);
  m.impl("packed_attention_backward", packed_attention_backward);
  m.impl("cross_attention", cross_attention);
  m.impl("cross_attention_backward", cross_attention_backward);
}

}  // namespace steadytune::kernels::cpu
