#pragma once

#include <ATen/ATen.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/arena.h"
#include "core/device.h"
#include "core/encoder_shape.h"
#include "core/late.h"
#include "core/model.h"
#include "core/packed_batch.h"
#include "core/parameter.h"
#include "core/segments.h"
#include "core/step_inputs.h"
#include "core/step_recordings.h"
#include "core/touched_rows.h"

namespace steadytune {

/// One optimizer step: StepOptions of src/native/types.ts.
struct StepOptions {
  int64_t step;
  double learning_rate;
  std::array<double, 2> betas;
  double eps;
  bool bias_correction;
  double max_grad_norm;
  int64_t order_seed;
  bool dropout;
};

struct StepResult {
  double loss;
  double grad_norm;
  bool finite;
};

struct ForwardResult {
  at::Tensor logits;  // float32 [B, outputs]
  std::optional<double> loss;
  std::optional<at::Tensor> hidden_states;  // float32 [states, T, hidden]
  std::optional<at::Tensor> pooled;         // float32 [B, hidden]
};

enum class ArenaBuffer { parameters, moment1, moment2, start };

struct ElementRange {
  int64_t begin;
  int64_t end;
};

/// Raw values of one parameter as a checkpoint stores them.
struct StoredValues {
  at::ScalarType dtype;
  const void* data;
  size_t bytes;
};

/// One model in training or use: arena, encoder, optimizer and snapshots. Used from one thread, the one that made its
/// device. On a GPU nothing that a step does waits for it: results are late, and everything else asks for a copy.
class Engine {
 public:
  Engine(const EncoderShape& shape, at::ScalarType compute, Form form,
         std::unique_ptr<Device> device = Device::make(at::kCPU));
  ~Engine();

  const EncoderShape& shape() const { return shape_; }
  const std::vector<ParameterInfo>& parameters() const { return arena_.parameters(); }
  /// Host memory in use.
  int64_t bytes() const;
  int64_t peak_device_bytes() const { return device_->peak_bytes(); }
  /// Shapes of batches whose step is replayed.
  size_t recorded_steps() const { return recordings_.count(); }

  void load(const std::string& name, const StoredValues& values);
  void set_plan(const std::vector<ParameterPlan>& plan, int64_t init_seed, bool keep_start);

  Late<StepResult> train(const std::vector<BatchRows>& parts, const StepOptions& options,
                         const std::atomic<bool>& stop);
  Late<ForwardResult> forward(const BatchRows& batch, bool hidden_states, const std::atomic<bool>& stop);
  /// Gradients of the mean loss without dropout stay in the arena; frozen parameters get none.
  StepResult gradients(const BatchRows& batch, const std::atomic<bool>& stop);

  /// Copies, float32, on the CPU.
  at::Tensor read_parameter(const std::string& name) const;
  at::Tensor read_gradient(const std::string& name) const;
  /// 0 for a buffer that is not kept.
  int64_t buffer_length(ArenaBuffer buffer) const;
  /// All of it without a range.
  at::Tensor read_buffer(ArenaBuffer buffer, const std::optional<ElementRange>& range = std::nullopt) const;
  /// From element `begin` on; without one the values must be all of the buffer.
  void write_buffer(ArenaBuffer buffer, const float* values, size_t count, std::optional<int64_t> begin = std::nullopt);

  void snapshot(const std::string& slot);
  void restore(const std::string& slot);
  void drop_snapshot(const std::string& slot);
  at::Tensor read_snapshot(const std::string& slot, const std::string& name) const;

  /// Group ("embeddings", "blocks.0", ..., "pooler", "classifier") to L2 distance from the start, in arena order.
  std::vector<std::pair<std::string, double>> distances() const;

 private:
  /// The reference of XLNet's attention goes through the rows on the host: a recording would hold their lengths.
  bool replays() const { return device_->records() && (form_ == Form::fused || shape_.family != Family::xlnet); }
  std::vector<PackedBatch> pack_parts(const std::vector<BatchRows>& parts) const;
  void touch_words(const std::vector<PackedBatch>& parts);
  /// All that a step queues, from zeroing the gradients to its outcome.
  void run_step(const StepInputs& inputs, const StepOptions& options, const std::atomic<bool>& stop);
  /// The loss of one part, float32 [], divided by `rows_of_step`; its gradients are added to the arena's.
  at::Tensor accumulate(const PackedBatch& batch, const DrawKey& draws, int64_t rows_of_step,
                        const std::atomic<bool>& stop);
  Late<StepResult> outcome() const;
  /// Complete when a mark behind it is reached.
  at::Tensor queue_host_copy(const at::Tensor& values) const;
  void reset(size_t index, const ParameterPlan& plan, int64_t init_seed);
  void train_with(const std::vector<ParameterPlan>& plan);
  void recut_segments();
  /// `one_part`: the step has one part, whose gradients may stay in bfloat16.
  void zero_gradients(bool one_part);
  /// Zeroes a buffer of the arena or a part of one.
  void zero_buffer(const at::Tensor& buffer) const;
  const at::Tensor& buffer_of(ArenaBuffer buffer) const;
  void adopt_moved_words();
  const at::Tensor& find_snapshot(const std::string& slot) const;

  // First, so that it ends last.
  std::unique_ptr<Device> device_;
  EncoderShape shape_;
  Form form_;
  Arena arena_;
  std::unique_ptr<Model> model_;
  std::vector<ParameterPlan> plan_;  // empty before the first
  bool any_trained_ = false;
  Segments segments_;
  TouchedRows touched_words_;
  /// float64 [2]: loss and squared norm of the step that was queued last.
  at::Tensor outcome_;
  StepRecordings recordings_;
  std::unordered_map<std::string, at::Tensor> snapshots_;
};

}  // namespace steadytune
