#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "core/device.h"
#include "core/packed_batch.h"

namespace steadytune {

/// What changes from one training step to the next: its batches and its numbers, in one piece of the device's memory.
/// Work that was recorded reads the same memory at each replay, so a step is given to it by one copy into that.
class StepInputs {
 public:
  /// For batches with the sizes of these, and nothing written yet.
  StepInputs(Device& device, const std::vector<PackedBatch>& like);

  /// Queues the copy. `parts`, on the CPU, have the sizes that this was made for.
  void write(const std::vector<PackedBatch>& parts, int64_t step, int64_t seed, double learning_rate);
  /// To be called when the step that reads them is queued: the next write waits for it, and the host does not.
  void read() { free_ = device_.mark(); }

  const std::vector<PackedBatch>& parts() const { return parts_; }
  /// int64 [3]: step, 0, seed; what the operators add to the place that masks are drawn for.
  const at::Tensor& counter() const { return counter_; }
  const at::Tensor& learning_rate() const { return learning_rate_; }  // float64 []
  /// int64 []: 0, for adamw_scheduled_ to write into.
  const at::Tensor& diverged_at() const { return diverged_at_; }

 private:
  Device& device_;
  at::Tensor bytes_;  // uint8
  std::vector<PackedBatch> parts_;
  at::Tensor counter_;
  at::Tensor learning_rate_;
  at::Tensor diverged_at_;
  std::unique_ptr<Mark> free_;
};

}  // namespace steadytune
