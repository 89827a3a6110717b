#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "kernels/cpu/vector_kernels.h"

namespace steadytune::kernels::cpu {

/// Some heads of one row, or some queries of them. Tasks write to disjoint places, so their order changes no bit.
struct AttentionTask {
  int64_t row;
  Range heads;
  Range queries;
  int64_t cost;
};

/// Offsets of each row's queries and of its keys, [rows + 1] each.
struct AttentionOffsets {
  const int32_t* queries;
  const int32_t* keys;
  int64_t rows;

  int64_t queries_of(int64_t row) const { return queries[row + 1] - queries[row]; }
  int64_t keys_of(int64_t row) const { return keys[row + 1] - keys[row]; }
  /// At least 1.
  int64_t longest() const {
    int64_t longest = 1;
    for (int64_t row = 0; row < rows; ++row) longest = std::max(longest, keys_of(row));
    return longest;
  }
};

/// Cuts the batch into tasks, the dearest first, so that no thread is left with a long row at the end. A task takes as
/// many heads of a row as leave enough tasks for all threads: heads lie side by side in memory.
inline std::vector<AttentionTask> plan_attention(const AttentionOffsets& offsets, int64_t heads,
                                                 int64_t queries_per_task) {
  int64_t total_cost = 0;
  for (int64_t row = 0; row < offsets.rows; ++row) total_cost += heads * offsets.queries_of(row) * offsets.keys_of(row);
  constexpr int64_t tasks_per_thread = 16;
  const int64_t cost_per_task = total_cost / (tasks_per_thread * at::get_num_threads());
  std::vector<AttentionTask> tasks;
  for (int64_t row = 0; row < offsets.rows; ++row) {
    const int64_t queries = offsets.queries_of(row);
    const int64_t keys = offsets.keys_of(row);
    if (keys == 0) continue;
    for (int64_t begin = 0; begin < queries; begin += queries_per_task) {
      const int64_t end = std::min(queries, begin + queries_per_task);
      const int64_t head_cost = (end - begin) * keys;
      const int64_t heads_per_task = std::clamp<int64_t>(cost_per_task / head_cost, 1, heads);
      for (int64_t head = 0; head < heads; head += heads_per_task) {
        const int64_t last = std::min(heads, head + heads_per_task);
        tasks.push_back({row, {head, last}, {begin, end}, (last - head) * head_cost});
      }
    }
  }
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const AttentionTask& a, const AttentionTask& b) { return a.cost > b.cost; });
  return tasks;
}

/// Runs body(task, scratch) for every task; a thread takes the next one when it has done its last. Each has its own
/// scratch of `floats`.
template <typename Body>
void run_attention(const std::vector<AttentionTask>& tasks, int64_t floats, const Body& body) {
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

/// Queries of one forward task: enough to make up for transposing the keys anew.
inline constexpr int64_t forward_task_queries = 256;

}  // namespace steadytune::kernels::cpu
