#include "core/step_recordings.h"

#include <c10/util/Exception.h>

#include <utility>

namespace steadytune {

void StepRecordings::run(const Key& key, const std::vector<PackedBatch>& parts, const Write& write, const Body& body) {
  const auto found = recorded_.find(key);
  Step* step = found == recorded_.end() ? record(key, parts, body) : &found->second;
  if (step == nullptr) {
    queue(parts, write, body);
    return;
  }
  write(*step->inputs);
  step->recording->replay();
  step->inputs->read();
}

void StepRecordings::queue(const std::vector<PackedBatch>& parts, const Write& write, const Body& body) {
  StepInputs inputs(device_, parts);
  write(inputs);
  body(inputs);
}

StepRecordings::Step* StepRecordings::record(const Key& key, const std::vector<PackedBatch>& parts, const Body& body) {
  if (recorded_.size() >= limit || failures_ == most_failures) return nullptr;
  if (++seen_[key] != 2) return nullptr;
  Step step{std::make_unique<StepInputs>(device_, parts), nullptr};
  // The step has run as it is, and what it took lies in a cache that a recording has no use of.
  device_.release_cache();
  try {
    step.recording = device_.record([inputs = step.inputs.get(), body] { body(*inputs); });
  } catch (const std::exception& error) {
    // The step itself has worked, so it goes on as it is, only slower; and the one who reads this can report it.
    TORCH_WARN(
        "steadytune: a training step could not be recorded, so that those of its shape are queued kernel by kernel: ",
        error.what());
    device_.release_cache();
    ++failures_;
    return nullptr;
  }
  return &recorded_.emplace(key, std::move(step)).first->second;
}

void StepRecordings::clear() {
  seen_.clear();
  failures_ = 0;
  if (recorded_.empty()) return;
  recorded_.clear();
  // The memory between their first and last nodes serves no other recordings.
  device_.release_cache();
}

}  // namespace steadytune
