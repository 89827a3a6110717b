#include "core/engine.h"

#include <ATen/core/grad_mode.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/block_cache.h"
#include "core/bucket.h"
#include "core/error.h"
#include "core/operators.h"
#include "core/zero_pages.h"

namespace steadytune {
namespace {

std::string group_of(const ParameterInfo& parameter) {
  if (parameter.block) return "blocks." + std::to_string(*parameter.block);
  return parameter.name.substr(0, parameter.name.find('.'));
}

void check_seed(const char* key, int64_t seed) {
  if (seed < 0 || seed > 0xffffffffLL) {
    throw Error("ERR_CONFIG", std::string(key) + " must be a whole number from 0 to 4294967295");
  }
}

void check_step(const StepOptions& options) {
  const bool betas = options.betas[0] >= 0 && options.betas[0] < 1 && options.betas[1] >= 0 && options.betas[1] < 1;
  if (!betas) throw Error("ERR_CONFIG", "both betas must be at least 0 and below 1");
  if (!std::isfinite(options.learning_rate) || options.learning_rate < 0) {
    throw Error("ERR_CONFIG", "the learning rate must be a finite number of at least 0");
  }
  if (!(options.eps >= 0) || !(options.max_grad_norm >= 0)) {
    throw Error("ERR_CONFIG", "eps and maxGradNorm must be at least 0");
  }
  if (options.step < 1 || options.step > 0xffffffffLL) {
    throw Error("ERR_CONFIG", "a step's number must lie between 1 and 4294967295");
  }
  check_seed("orderSeed", options.order_seed);
}

void check_mixout(const ParameterInfo& parameter, const Mixout& mixout) {
  if (!is_probability(mixout.p)) {
    throw Error("ERR_CONFIG", "the plan of '" + parameter.name + "' has a mixout p outside 0 <= p < 1");
  }
  if (parameter.shape.size() != 2 || parameter.role == Role::embedding) {
    throw Error("ERR_CONFIG", "the plan mixes '" + parameter.name + "'",
                "mixout is for the matrices of linear layers: no embedding, bias or LayerNorm");
  }
}

/// A copy that nobody else writes.
at::Tensor host_copy(const at::Tensor& values) { return values.is_cpu() ? values.clone() : values.to(at::kCPU); }

/// All that a recorded step holds by value, and the sizes of what it reads.
StepRecordings::Key key_of(const std::vector<PackedBatch>& parts, const StepOptions& options) {
  StepRecordings::Key key{options.dropout, options.bias_correction};
  for (double number : {options.betas[0], options.betas[1], options.eps, options.max_grad_norm}) {
    key.push_back(std::bit_cast<int64_t>(number));
  }
  for (const PackedBatch& part : parts) {
    key.push_back(part.tokens());
    key.push_back(part.rows());
  }
  return key;
}

StepResult step_result(double loss, double squared_norm) {
  const double norm = std::sqrt(squared_norm);
  return {loss, norm, std::isfinite(loss) && std::isfinite(norm)};
}

}  // namespace

Engine::Engine(const EncoderShape& shape, at::ScalarType compute, Form form, std::unique_ptr<Device> device)
    : device_(std::move(device)),
      shape_((shape.check(), shape)),
      form_(form),
      arena_(Model::parameters(shape), form == Form::fused ? compute : at::kFloat, device_->place()),
      model_(Model::make(shape_, arena_, compute, form)),
      touched_words_(arena_, arena_.index_of("embeddings.word.weight")),
      outcome_(at::zeros({2}, at::TensorOptions(at::kDouble).device(device_->place()))),
      recordings_(*device_) {}

Engine::~Engine() { BlockCache::release_installed(); }

int64_t Engine::bytes() const {
  int64_t bytes = device_->is_cpu() ? arena_.bytes() : 0;
  for (const auto& [slot, values] : snapshots_) bytes += static_cast<int64_t>(values.nbytes());
  return bytes;
}

void Engine::load(const std::string& name, const StoredValues& values) {
  const size_t index = arena_.index_of(name);
  at::Tensor target = arena_.value(index);
  if (values.bytes != static_cast<size_t>(target.numel()) * c10::elementSize(values.dtype)) {
    throw Error("ERR_CHECKPOINT", "the values of '" + name + "' have " + std::to_string(values.bytes) +
                                      " bytes, which does not fit its shape");
  }
  // from_blob needs an aligned address, which a slice of a file need not have.
  at::Tensor stored = at::empty(target.sizes(), values.dtype);
  std::memcpy(stored.data_ptr(), values.data, values.bytes);
  target.copy_(stored);
  arena_.values_changed();
  if (index == touched_words_.table()) adopt_moved_words();
}

void Engine::reset(size_t index, const ParameterPlan& plan, int64_t init_seed) {
  at::Tensor value = arena_.value(index);
  switch (plan.reset) {
    case Reset::none:
      return;
    case Reset::ones:
      value.fill_(1);
      return;
    case Reset::zeros:
      value.zero_();
      return;
    case Reset::normal: {
      const auto [layer, site] = random_place(arena_.parameters(), index);
      operators::normal_(value, plan.reset_std, init_seed, plan.reset_stream, layer, site);
      return;
    }
  }
}

void Engine::set_plan(const std::vector<ParameterPlan>& plan, int64_t init_seed, bool keep_start) {
  check_seed("initSeed", init_seed);
  const size_t count = arena_.parameters().size();
  if (plan.size() != count) {
    throw Error("ERR_CONFIG", "the plan has " + std::to_string(plan.size()) + " entries, but the model has " +
                                  std::to_string(count) + " parameters");
  }
  for (size_t i = 0; i < count; ++i) {
    const ParameterPlan& entry = plan[i];
    const bool numbers = std::isfinite(entry.lr_scale) && entry.lr_scale >= 0 && std::isfinite(entry.weight_decay) &&
                         entry.weight_decay >= 0 && std::isfinite(entry.reset_std) && entry.reset_std >= 0;
    if (!numbers) {
      throw Error("ERR_CONFIG", "the plan of '" + arena_.parameters()[i].name +
                                    "' has an lrScale, weightDecay or reset that is negative or not finite");
    }
    if (entry.mixout) check_mixout(arena_.parameters()[i], *entry.mixout);
  }
  model_->check_mixing(plan);
  // What loading and earlier trials have left is of other sizes than what training will ask for.
  BlockCache::release_installed();
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < count; ++i) reset(i, plan[i], init_seed);
  arena_.values_changed();
  train_with(plan);

  bool needs_start = keep_start;
  for (const ParameterPlan& entry : plan) {
    needs_start |= entry.mixout.has_value() || (entry.decay_towards_start && entry.weight_decay > 0);
  }
  if (needs_start != arena_.start().defined()) recordings_.clear();
  if (needs_start) {
    arena_.keep_start();
  } else {
    arena_.drop_start();
  }
  model_->mix_parameters(plan);
  arena_.allocate_moments();
  zero_buffer(arena_.moment1());
  zero_buffer(arena_.moment2());
}

void Engine::train_with(const std::vector<ParameterPlan>& plan) {
  std::vector<bool> frozen(plan.size());
  any_trained_ = false;
  for (size_t i = 0; i < plan.size(); ++i) {
    frozen[i] = plan[i].frozen;
    any_trained_ |= !plan[i].frozen;
  }
  model_->train_parameters(frozen);
  zero_buffer(arena_.gradients());
  touched_words_.clear();
  if (plan_ != plan) {
    recordings_.clear();
    plan_ = plan;
    segments_ = {};
  }
  recut_segments();
}

void Engine::zero_buffer(const at::Tensor& buffer) const {
  if (buffer.is_cpu()) {
    zero_again(buffer);
  } else {
    buffer.zero_();
  }
}

/// On a GPU the table has room for all words from the start: recorded steps know where it lies, and the norm is summed
/// in the same order however many have been touched.
void Engine::recut_segments() {
  Segments cut = cut_segments(arena_, plan_, touched_words_, model_->half_spans());
  if (device_->is_cpu()) {
    segments_ = std::move(cut);
    return;
  }
  const int64_t room = most_segments(plan_, touched_words_);
  const auto put = [&](at::Tensor& place, const at::Tensor& values) {
    std::vector<int64_t> sizes = values.sizes().vec();
    sizes[0] = room;
    if (!place.defined()) place = at::zeros(sizes, values.options().device(device_->place()));
    const at::Tensor staged = device_->host_tensor(sizes, values.scalar_type());
    staged.zero_();
    staged.narrow(0, 0, values.size(0)).copy_(values);
    place.copy_(staged, /*non_blocking=*/true);
  };
  put(segments_.bounds, cut.bounds);
  put(segments_.settings, cut.settings);
  put(segments_.flags, cut.flags);
  segments_.words = cut.words;
}

/// Words outside the step before have no gradient to be cleared of.
void Engine::zero_gradients(bool one_part) {
  model_->clear_gradients(touched_words_.table(), one_part);
  if (device_->is_cpu()) {
    touched_words_.zero_marked(arena_.gradients());
  } else {
    // 10 times the bytes that need it, and a twentieth of a millisecond.
    arena_.gradient(touched_words_.table()).zero_();
  }
}

std::vector<PackedBatch> Engine::pack_parts(const std::vector<BatchRows>& parts) const {
  std::vector<PackedBatch> packed;
  for (const BatchRows& part : parts) {
    packed.push_back(pack(part, shape_, replays() ? bucket_of(static_cast<int64_t>(part.token_ids.size())) : 0));
    if (!packed.back().labels.defined()) throw Error("ERR_DATA", "a training batch has no labels");
  }
  return packed;
}

void Engine::touch_words(const std::vector<PackedBatch>& parts) {
  for (const PackedBatch& part : parts) {
    const int64_t tokens = part.host_row_offsets[-1].item<int64_t>();
    for (const at::Tensor* ids : {&part.token_ids, &part.decoder_ids}) {
      if (!ids->defined()) continue;
      const at::Tensor real = ids->narrow(0, 0, tokens);
      device_->is_cpu() ? touched_words_.mark(real) : touched_words_.touch(real);
    }
  }
  if (touched_words_.count() != segments_.words || model_->half_spans() != segments_.half_spans) recut_segments();
}

at::Tensor Engine::accumulate(const PackedBatch& batch, const DrawKey& draws, int64_t rows_of_step,
                              const std::atomic<bool>& stop) {
  const Model::Output output = model_->forward({batch, draws, stop, form_}, false);
  const at::Tensor part = output.loss / static_cast<double>(rows_of_step);
  part.backward();
  return part.detach();
}

void Engine::run_step(const StepInputs& inputs, const StepOptions& options, const std::atomic<bool>& stop) {
  int64_t rows = 0;
  for (const PackedBatch& part : inputs.parts()) rows += part.rows();
  const at::Tensor loss = outcome_[0];
  const at::Tensor squared_norm = outcome_[1];
  loss.zero_();
  zero_gradients(inputs.parts().size() == 1);
  if (device_->is_cpu()) touch_words(inputs.parts());
  DrawKey draws{.dropout = options.dropout, .mixout = true};
  if (device_->is_cpu()) {
    draws.seed = options.order_seed;
    draws.step = options.step;
  } else {
    draws.counter = inputs.counter();
  }
  for (const PackedBatch& part : inputs.parts()) {
    loss.add_(accumulate(part, draws, rows, stop));
    ++draws.part;
  }

  const at::NoGradGuard no_grad;
  model_->finish_gradients();
  const auto& [bounds, settings, flags, words, halves] = segments_;
  squared_norm.copy_(operators::squared_norm(arena_.gradients(), bounds, flags));
  const auto given = [](const at::Tensor& buffer) {
    return buffer.defined() ? std::optional<at::Tensor>(buffer) : std::nullopt;
  };
  operators::adamw_scheduled_(
      arena_.values(), arena_.gradients(), arena_.moment1(), arena_.moment2(), given(arena_.start()), bounds, settings,
      flags, squared_norm, loss, inputs.learning_rate(), inputs.counter(), inputs.diverged_at(), options.betas[0],
      options.betas[1], options.eps, options.bias_correction, options.max_grad_norm, given(arena_.compute()));
}

Late<StepResult> Engine::outcome() const {
  const at::Tensor host = device_->host_tensor({2}, at::kDouble);
  host.copy_(outcome_, /*non_blocking=*/true);
  return {device_->mark(), [host] {
            const double* numbers = host.const_data_ptr<double>();
            return step_result(numbers[0], numbers[1]);
          }};
}

Late<StepResult> Engine::train(const std::vector<BatchRows>& rows, const StepOptions& options,
                               const std::atomic<bool>& stop) {
  if (plan_.empty() || !arena_.moment1().defined()) throw Error("ERR_CONFIG", "train was called before setPlan");
  if (!any_trained_) throw Error("ERR_CONFIG", "the plan freezes every parameter, so there is nothing to train");
  if (rows.empty()) throw Error("ERR_DATA", "a training step has no rows");
  check_step(options);
  const std::vector<PackedBatch> parts = pack_parts(rows);

  arena_.refresh_compute();
  // Recorded work does nothing on the host.
  if (!device_->is_cpu()) touch_words(parts);
  // A step on a GPU is queued in less time than a block takes on the CPU.
  static const std::atomic<bool> never{false};
  const std::atomic<bool>& stop_at = device_->is_cpu() ? stop : never;
  const auto write = [&](StepInputs& inputs) {
    inputs.write(parts, options.step, options.order_seed, options.learning_rate);
  };
  const auto body = [&](const StepInputs& inputs) { run_step(inputs, options, stop_at); };
  try {
    if (replays()) {
      recordings_.run(key_of(parts, options), parts, write, body);
    } else {
      recordings_.queue(parts, write, body);
    }
  } catch (...) {
    // What the step has taken is free again; another shape may need it as one piece.
    device_->release_cache();
    throw;
  }
  return outcome();
}

Late<ForwardResult> Engine::forward(const BatchRows& rows, bool hidden_states, const std::atomic<bool>& stop) {
  const at::NoGradGuard no_grad;
  arena_.refresh_compute();
  const std::vector<PackedBatch> parts{pack(rows, shape_)};
  StepInputs inputs(*device_, parts);
  inputs.write(parts, 0, 0, 0);
  const PackedBatch& batch = inputs.parts().front();
  const Model::Output output = model_->forward({batch, {}, stop, form_}, hidden_states);
  ForwardResult late;
  late.logits = queue_host_copy(output.logits);
  at::Tensor loss;
  if (output.loss.defined()) loss = queue_host_copy(output.loss);
  if (hidden_states) {
    late.hidden_states = queue_host_copy(at::stack(output.hidden_states).to(at::kFloat));
    late.pooled = queue_host_copy(output.pooled);
  }
  return {device_->mark(), [late, loss, rows = batch.rows()] {
            ForwardResult result = late;
            // Pinned memory is given back on this thread: JavaScript's would do so while this one records a step, which
            // CUDA refuses.
            const auto keep = [](at::Tensor& values) {
              if (values.is_pinned()) values = values.clone();
            };
            keep(result.logits);
            if (result.hidden_states) keep(*result.hidden_states);
            if (result.pooled) keep(*result.pooled);
            if (loss.defined()) result.loss = loss.item<double>() / static_cast<double>(rows);
            return result;
          }};
}

at::Tensor Engine::queue_host_copy(const at::Tensor& values) const {
  if (device_->is_cpu()) return values.contiguous();
  const at::Tensor host = device_->host_tensor(values.sizes(), values.scalar_type());
  host.copy_(values, /*non_blocking=*/true);
  return host;
}

StepResult Engine::gradients(const BatchRows& rows, const std::atomic<bool>& stop) {
  if (plan_.empty()) train_with(std::vector<ParameterPlan>(arena_.parameters().size()));
  arena_.refresh_compute();
  const std::vector<PackedBatch> parts{pack(rows, shape_)};
  if (!parts.front().labels.defined()) throw Error("ERR_DATA", "gradients need a batch with labels");
  StepInputs inputs(*device_, parts);
  inputs.write(parts, 0, 0, 0);
  zero_gradients(false);
  touch_words(parts);
  const at::Tensor loss = accumulate(inputs.parts().front(), {}, parts.front().rows(), stop);
  const at::NoGradGuard no_grad;
  model_->finish_gradients();
  const at::Tensor squared_norm = operators::squared_norm(arena_.gradients(), segments_.bounds, segments_.flags);
  return step_result(loss.item<double>(), squared_norm.item<double>());
}

at::Tensor Engine::read_parameter(const std::string& name) const {
  return host_copy(arena_.value(arena_.index_of(name)));
}

at::Tensor Engine::read_gradient(const std::string& name) const {
  if (!arena_.gradients().defined()) throw Error("ERR_INTERNAL", "no gradient has been computed yet");
  return model_->read_gradient(arena_.index_of(name));
}

const at::Tensor& Engine::buffer_of(ArenaBuffer buffer) const {
  switch (buffer) {
    case ArenaBuffer::parameters:
      return arena_.values();
    case ArenaBuffer::moment1:
      return arena_.moment1();
    case ArenaBuffer::moment2:
      return arena_.moment2();
    case ArenaBuffer::start:
      return arena_.start();
  }
  throw Error("ERR_INTERNAL", "a buffer of the arena is none of those known");
}

int64_t Engine::buffer_length(ArenaBuffer buffer) const {
  const at::Tensor& source = buffer_of(buffer);
  return source.defined() ? source.numel() : 0;
}

at::Tensor Engine::read_buffer(ArenaBuffer buffer, const std::optional<ElementRange>& range) const {
  const int64_t length = buffer_length(buffer);
  const auto [begin, end] = range.value_or(ElementRange{0, length});
  if (begin < 0 || begin > end || end > length) {
    throw Error("ERR_INTERNAL", "a buffer of " + std::to_string(length) + " values was read from " +
                                    std::to_string(begin) + " to " + std::to_string(end));
  }
  return length == 0 ? at::empty({0}, at::kFloat) : host_copy(buffer_of(buffer).narrow(0, begin, end - begin));
}

void Engine::write_buffer(ArenaBuffer buffer, const float* values, size_t count, std::optional<int64_t> begin) {
  const int64_t size = static_cast<int64_t>(count);
  const bool fits = begin ? *begin >= 0 && *begin <= arena_.elements() - size : size == arena_.elements();
  if (!fits) {
    throw Error("ERR_STATE", "a buffer of " + std::to_string(begin.value_or(0) + size) +
                                 " values does not fit a model of " + std::to_string(arena_.elements()));
  }
  if (buffer == ArenaBuffer::moment1 || buffer == ArenaBuffer::moment2) arena_.allocate_moments();
  if (buffer == ArenaBuffer::start && !arena_.start().defined()) {
    arena_.allocate_start();
    recordings_.clear();
  }
  const at::Tensor& target = buffer_of(buffer);
  if (target.is_cpu()) {
    copy_to_pages(target.mutable_data_ptr<float>() + begin.value_or(0), values, size);
  } else {
    target.narrow(0, begin.value_or(0), size).copy_(at::from_blob(const_cast<float*>(values), {size}, at::kFloat));
  }
  if (buffer == ArenaBuffer::parameters) arena_.values_changed();
  if (!plan_.empty() && (buffer == ArenaBuffer::moment1 || buffer == ArenaBuffer::moment2)) {
    touched_words_.adopt(target);
  }
  adopt_moved_words();
  if (!plan_.empty()) recut_segments();
}

/// Decay towards the start moves untouched words as well once they lie elsewhere.
void Engine::adopt_moved_words() {
  if (plan_.empty() || !arena_.start().defined()) return;
  const ParameterPlan& words = plan_[touched_words_.table()];
  if (words.decay_towards_start && words.weight_decay > 0) touched_words_.adopt(arena_.values() - arena_.start());
}

void Engine::snapshot(const std::string& slot) {
  at::Tensor& copy = snapshots_[slot];
  if (!copy.defined()) copy = device_->host_tensor(arena_.values().sizes(), at::kFloat);
  copy.copy_(arena_.values(), /*non_blocking=*/true);
}

const at::Tensor& Engine::find_snapshot(const std::string& slot) const {
  const auto found = snapshots_.find(slot);
  if (found == snapshots_.end()) throw Error("ERR_INTERNAL", "there is no snapshot '" + slot + "'");
  return found->second;
}

void Engine::restore(const std::string& slot) {
  const at::NoGradGuard no_grad;
  arena_.values().copy_(find_snapshot(slot), /*non_blocking=*/true);
  arena_.values_changed();
  adopt_moved_words();
}

void Engine::drop_snapshot(const std::string& slot) { snapshots_.erase(slot); }

at::Tensor Engine::read_snapshot(const std::string& slot, const std::string& name) const {
  const at::Tensor& values = find_snapshot(slot);
  device_->mark()->wait();
  return arena_.view(values, arena_.index_of(name)).clone();
}

std::vector<std::pair<std::string, double>> Engine::distances() const {
  if (!arena_.start().defined()) {
    throw Error("ERR_INTERNAL", "distances need the start values, which this plan does not keep");
  }
  const at::Tensor squares =
      operators::segment_squared_distance(arena_.values(), arena_.start(), arena_.bounds()).to(at::kCPU);
  const auto square = squares.accessor<double, 1>();
  std::vector<std::pair<std::string, double>> groups;
  for (size_t i = 0; i < arena_.parameters().size(); ++i) {
    const std::string group = group_of(arena_.parameters()[i]);
    if (groups.empty() || groups.back().first != group) groups.emplace_back(group, 0);
    groups.back().second += square[static_cast<int64_t>(i)];
  }
  for (auto& [group, distance] : groups) distance = std::sqrt(distance);
  return groups;
}

}  // namespace steadytune
