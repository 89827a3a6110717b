#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <tuple>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/tokens.h"

namespace steadytune::kernels::cpu {
namespace {

/// Some heads of one row, or some queries of them. Tasks write to disjoint places, so their order changes no bit.
struct Task {
  int64_t row;
  Range heads;
  Range queries;
  int64_t cost;
};

/// Cuts the batch into tasks, the dearest first, so that no thread is left with a long row at the end. A task takes as
/// many heads of a row as leave enough tasks for all threads: heads lie side by side in memory.
std::vector<Task> plan_tasks(const int32_t* offsets, int64_t rows, int64_t heads, int64_t queries_per_task) {
  int64_t total_cost = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = offsets[row + 1] - offsets[row];
    total_cost += heads * length * length;
  }
  constexpr int64_t tasks_per_thread = 16;
  const int64_t cost_per_task = total_cost / (tasks_per_thread * at::get_num_threads());
  std::vector<Task> tasks;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = offsets[row + 1] - offsets[row];
    for (int64_t begin = 0; begin < length; begin += queries_per_task) {
      const int64_t end = std::min(length, begin + queries_per_task);
      const int64_t head_cost = (end - begin) * length;
      const int64_t heads_per_task = std::clamp<int64_t>(cost_per_task / head_cost, 1, heads);
      for (int64_t head = 0; head < heads; head += heads_per_task) {
        const int64_t last = std::min(heads, head + heads_per_task);
        tasks.push_back({row, {head, last}, {begin, end}, (last - head) * head_cost});
      }
    }
  }
  std::stable_sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) { return a.cost > b.cost; });
  return tasks;
}

/// Runs body(task, scratch) for every task; a thread takes the next one when it has done its last. Each has its own
/// scratch of `floats`.
template <typename Body>
void run_tasks(const std::vector<Task>& tasks, int64_t floats, const Body& body) {
  const int64_t workers = std::min<int64_t>(at::get_num_threads(), tasks.size());
  if (workers == 0) {
    return;
  }
  const at::Tensor scratch = at::empty({workers, floats}, at::kFloat);
  float* scratch_begin = scratch.mutable_data_ptr<float>();
  std::atomic<size_t> next{0};
  at::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      for (size_t i = next.fetch_add(1); i < tasks.size(); i = next.fetch_add(1)) {
        body(tasks[i], scratch_begin + worker * floats);
      }
    }
  });
}

int64_t longest_row(const int32_t* offsets, int64_t rows) {
  int64_t longest = 0;
  for (int64_t row = 0; row < rows; ++row) {
    longest = std::max<int64_t>(longest, offsets[row + 1] - offsets[row]);
  }
  return longest;
}

/// Queries of one forward task: enough to make up for transposing the keys anew.
constexpr int64_t forward_task_queries = 256;

template <typename Scalar>
AttentionRow<Scalar> attention_row(const at::Tensor& qkv, const int32_t* offsets, const int32_t* numbers, int64_t row,
                                   int64_t heads, bool causal) {
  return {
      .qkv = qkv.const_data_ptr<Scalar>() + offsets[row] * qkv.size(1),
      .length = offsets[row + 1] - offsets[row],
      .heads = heads,
      .head_size = qkv.size(1) / (3 * heads),
      .row = static_cast<uint32_t>(numbers[row]),
      .causal = causal,
  };
}

std::tuple<at::Tensor, at::Tensor> packed_attention(const at::Tensor& qkv_any, const at::Tensor& row_offsets,
                                                    const at::Tensor& row_numbers, int64_t heads, bool causal, double p,
                                                    int64_t seed, int64_t layer, int64_t site, int64_t step,
                                                    const std::optional<at::Tensor>& counter) {
  const int64_t hidden = check_attention("packed_attention", qkv_any, row_offsets, row_numbers, heads);
  check_offsets("packed_attention", row_offsets, qkv_any.size(0));
  const DropoutDraw draw = host_draw("packed_attention", p, seed, layer, site, step, counter, qkv_any);
  const at::Tensor qkv = qkv_any.contiguous();
  const int64_t tokens = qkv.size(0);
  at::Tensor output = empty_tokens(tokens, hidden, qkv.options());
  at::Tensor logsumexp = at::empty({heads, tokens}, qkv.options().dtype(at::kFloat));
  const int32_t* offsets = row_offsets.const_data_ptr<int32_t>();
  const int32_t* numbers = row_numbers.const_data_ptr<int32_t>();
  const int64_t rows = row_numbers.numel();
  const VectorKernels& kernels = vector_kernels();
  const int64_t floats = kernels.attention_forward_scratch(longest_row(offsets, rows), hidden / heads);
  const std::vector<Task> tasks = plan_tasks(offsets, rows, heads, forward_task_queries);
  dispatch_floating(qkv.scalar_type(), [&]<typename Scalar>() {
    run_tasks(tasks, floats, [&](const Task& task, float* scratch) {
      const int64_t first = offsets[task.row];
      const AttentionForward<Scalar> forward{
          .row = attention_row<Scalar>(qkv, offsets, numbers, task.row, heads, causal),
          .output = output.mutable_data_ptr<Scalar>() + first * hidden,
          .logsumexp = logsumexp.mutable_data_ptr<float>() + first,
          .logsumexp_stride = tokens,
      };
      kernels.of<Scalar>().attention_forward(forward, task.heads, task.queries, draw, scratch);
    });
  });
  return {output, logsumexp};
}

at::Tensor packed_attention_backward(const at::Tensor& grad_output_any, const at::Tensor& qkv_any,
                                     const at::Tensor& output, const at::Tensor& logsumexp,
                                     const at::Tensor& row_offsets, const at::Tensor& row_numbers, int64_t heads,
                                     bool causal, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
                                     const std::optional<at::Tensor>& counter) {
  const char* op = "packed_attention_backward";
  const int64_t hidden = check_attention(op, qkv_any, row_offsets, row_numbers, heads);
  check_offsets(op, row_offsets, qkv_any.size(0));
  const int64_t tokens = qkv_any.size(0);
  check_attention_grads(op, grad_output_any, qkv_any, output, logsumexp, heads);
  const DropoutDraw draw = host_draw(op, p, seed, layer, site, step, counter, qkv_any);
  const at::Tensor qkv = qkv_any.contiguous();
  const at::Tensor grad_output = grad_output_any.contiguous();
  at::Tensor grad_qkv = empty_tokens_like(qkv);
  const int32_t* offsets = row_offsets.const_data_ptr<int32_t>();
  const int32_t* numbers = row_numbers.const_data_ptr<int32_t>();
  const int64_t rows = row_numbers.numel();
  const VectorKernels& kernels = vector_kernels();
  const int64_t longest = longest_row(offsets, rows);
  const int64_t floats = kernels.attention_backward_scratch(longest, hidden / heads);
  // Gradients of keys and values sum over all queries, so the queries of a row stay together.
  const std::vector<Task> tasks = plan_tasks(offsets, rows, heads, std::max<int64_t>(1, longest));
  dispatch_floating(qkv.scalar_type(), [&]<typename Scalar>() {
    run_tasks(tasks, floats, [&](const Task& task, float* scratch) {
      const int64_t first = offsets[task.row];
      const AttentionBackward<Scalar> backward{
          .row = attention_row<Scalar>(qkv, offsets, numbers, task.row, heads, causal),
          .grad_output = grad_output.const_data_ptr<Scalar>() + first * hidden,
          .logsumexp = logsumexp.const_data_ptr<float>() + first,
          .logsumexp_stride = tokens,
          .grad_qkv = grad_qkv.mutable_data_ptr<Scalar>() + first * 3 * hidden,
      };
      kernels.of<Scalar>().attention_backward(backward, task.heads, draw, scratch);
    });
  });
  return grad_qkv;
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) {
  m.impl("packed_attention", packed_attention);
  m.impl("packed_attention_backward", packed_attention_backward);
}

}  // namespace steadytune::kernels::cpu
