#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>

#include "kernels/checks.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/tokens.h"

namespace steadytune::kernels::cpu {
namespace {

template <typename Scalar>
SummaryRow<Scalar> summary_row(const at::Tensor& query, const at::Tensor& key_value, const int32_t* offsets,
                               const int32_t* numbers, const int32_t* positions, int64_t row, int64_t heads) {
  return {
      .query = query.const_data_ptr<Scalar>() + row * query.size(1),
      .key_value = key_value.const_data_ptr<Scalar>() + offsets[row] * key_value.size(1),
      .length = offsets[row + 1] - offsets[row],
      .heads = heads,
      .head_size = query.size(1) / heads,
      .row = static_cast<uint32_t>(numbers[row]),
      .position = static_cast<uint32_t>(positions[row]),
  };
}

/// Calls body(row, heads, scratch) for every row and head, some heads at a time.
template <typename Body>
void for_each_head(const int32_t* offsets, int64_t rows, int64_t heads, int64_t head_size, const Body& body) {
  int64_t longest = 1;
  for (int64_t row = 0; row < rows; ++row) longest = std::max<int64_t>(longest, offsets[row + 1] - offsets[row]);
  const int64_t floats = vector_kernels().summary_attention_scratch(longest, head_size);
  at::parallel_for(0, rows * heads, heads, [&](int64_t begin, int64_t end) {
    const at::Tensor scratch = at::empty({floats}, at::kFloat);
    while (begin < end) {
      const int64_t row = begin / heads;
      const int64_t last = std::min(end, (row + 1) * heads);
      if (offsets[row + 1] > offsets[row]) {
        body(row, Range{begin - row * heads, last - row * heads}, scratch.mutable_data_ptr<float>());
      }
      begin = last;
    }
  });
}

std::tuple<at::Tensor, at::Tensor> summary_attention(const at::Tensor& query, const at::Tensor& key_value,
                                                     const at::Tensor& row_offsets, const at::Tensor& row_numbers,
                                                     const at::Tensor& positions, int64_t heads, double p, int64_t seed,
                                                     int64_t layer, int64_t site, int64_t step,
                                                     const std::optional<at::Tensor>& counter) {
  const char* op = "summary_attention";
  check_summary_attention(op, query, key_value, row_offsets, row_numbers, positions, heads);
  check_offsets(op, row_offsets, key_value.size(0));
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, query);
  const int64_t rows = query.size(0);
  const int64_t hidden = query.size(1);
  at::Tensor output = empty_tokens_like(query);
  at::Tensor logsumexp = at::empty({heads, rows}, query.options().dtype(at::kFloat));
  const int32_t* offsets = row_offsets.const_data_ptr<int32_t>();
  dispatch_floating(query.scalar_type(), [&]<typename Scalar>() {
    for_each_head(offsets, rows, heads, hidden / heads, [&](int64_t row, Range some, float* scratch) {
      const SummaryForward<Scalar> task{
          .row = summary_row<Scalar>(query, key_value, offsets, row_numbers.const_data_ptr<int32_t>(),
                                     positions.const_data_ptr<int32_t>(), row, heads),
          .output = output.mutable_data_ptr<Scalar>() + row * hidden,
          .logsumexp = logsumexp.mutable_data_ptr<float>() + row,
          .logsumexp_stride = rows,
      };
      vector_kernels().of<Scalar>().summary_attention(task, some, draw, scratch);
    });
  });
  return {output, logsumexp};
}

std::tuple<at::Tensor, at::Tensor> summary_attention_backward(
    const at::Tensor& grad_output, const at::Tensor& query, const at::Tensor& key_value, const at::Tensor& logsumexp,
    const at::Tensor& row_offsets, const at::Tensor& row_numbers, const at::Tensor& positions, int64_t heads, double p,
    int64_t seed, int64_t layer, int64_t site, int64_t step, const std::optional<at::Tensor>& counter) {
  const char* op = "summary_attention_backward";
  check_summary_attention(op, query, key_value, row_offsets, row_numbers, positions, heads);
  check_offsets(op, row_offsets, key_value.size(0));
  check_query_grads(op, grad_output, query, logsumexp, heads);
  const int64_t rows = query.size(0);
  const int64_t hidden = query.size(1);
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, query);
  at::Tensor grad_query = empty_tokens_like(query);
  at::Tensor grad_key_value = empty_tokens_like(key_value);
  const int32_t* offsets = row_offsets.const_data_ptr<int32_t>();
  dispatch_floating(query.scalar_type(), [&]<typename Scalar>() {
    for_each_head(offsets, rows, heads, hidden / heads, [&](int64_t row, Range some, float* scratch) {
      const SummaryBackward<Scalar> task{
          .row = summary_row<Scalar>(query, key_value, offsets, row_numbers.const_data_ptr<int32_t>(),
                                     positions.const_data_ptr<int32_t>(), row, heads),
          .grad_output = grad_output.const_data_ptr<Scalar>() + row * hidden,
          .logsumexp = logsumexp.const_data_ptr<float>() + row,
          .logsumexp_stride = rows,
          .grad_query = grad_query.mutable_data_ptr<Scalar>() + row * hidden,
          .grad_key_value = grad_key_value.mutable_data_ptr<Scalar>() + offsets[row] * 2 * hidden,
      };
      vector_kernels().of<Scalar>().summary_attention_backward(task, some, draw, scratch);
    });
  });
  return {grad_query, grad_key_value};
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) {
  m.impl("summary_attention", summary_attention);
  m.impl("summary_attention_backward", summary_attention_backward);
}

}  // namespace steadytune::kernels::cpu
