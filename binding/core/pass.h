#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <optional>

#include "core/error.h"
#include "core/form.h"
#include "core/packed_batch.h"

namespace steadytune {

/// Which masks of dropout and mixout a pass draws: their keys begin with the seed, their counters with the step.
struct DrawKey {
  int64_t seed = 0;
  int64_t step = 0;
  /// The part of the step that the pass is for: each has mixout masks of its own.
  int64_t part = 0;
  /// False: no dropout anywhere.
  bool dropout = false;
  /// False: weights are multiplied with as they are, whatever their plan.
  bool mixout = false;
  /// int64 [3] on the device, added to step, part and seed there: work that was recorded once draws by what it holds.
  std::optional<at::Tensor> counter = std::nullopt;
};

/// One pass through the model: its rows, its random draws, and the flag that ends it early.
struct Pass {
  const PackedBatch& batch;
  DrawKey draws;
  const std::atomic<bool>& stop;
  Form form;

  /// Called between blocks. Throws ERR_ABORTED.
  void check_stop() const {
    if (stop.load(std::memory_order_relaxed)) throw Error("ERR_ABORTED", "the work was stopped");
  }
};

}  // namespace steadytune
