#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "core/device.h"
#include "core/packed_batch.h"
#include "core/step_inputs.h"

namespace steadytune {

/// Training steps that were recorded, one for each key: the sizes of the batches and all numbers that the recorded work
/// holds by value. A step is run as it is the first time that its key is seen, which also wakes all that libtorch does
/// once per shape; recorded the second time; and replayed from then on. Beyond `limit` of them, and where
/// recording it or `most_failures` others failed, it is always run as it is.
class StepRecordings {
 public:
  using Key = std::vector<int64_t>;
  using Write = std::function<void(StepInputs&)>;
  using Body = std::function<void(const StepInputs&)>;

  /// Each takes a few MiB of the device, beside the memory that all share.
  static constexpr size_t limit = 48;

  /// Memory may be short for a moment; what fails more often than this fails always.
  static constexpr int most_failures = 3;

  explicit StepRecordings(Device& device) : device_(device) {}

  /// Queues a step: `write` fills the inputs, `body` is the work that reads them, which may not depend on anything but
  /// the key.
  void run(const Key& key, const std::vector<PackedBatch>& parts, const Write& write, const Body& body);

  /// The same step as it is, whatever was recorded.
  void queue(const std::vector<PackedBatch>& parts, const Write& write, const Body& body);

  /// Drops all: what the recorded work relies on is about to change.
  void clear();

  size_t count() const { return recorded_.size(); }

 private:
  struct Step {
    std::unique_ptr<StepInputs> inputs;
    std::unique_ptr<Recording> recording;
  };

  Step* record(const Key& key, const std::vector<PackedBatch>& parts, const Body& body);

  Device& device_;
  std::map<Key, int64_t> seen_;
  std::map<Key, Step> recorded_;
  int failures_ = 0;
};

}  // namespace steadytune
