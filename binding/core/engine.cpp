#include "core/engine.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <cstring>

#include "core/block_cache.h"
#include "core/error.h"
#include "core/operators.h"
#include "core/zero_pages.h"

namespace steadytune {
namespace {

/// Sum over the batch's rows; the caller divides by the rows of the whole step, so that cutting a step into parts
/// changes nothing but rounding.
at::Tensor summed_loss(const EncoderShape& shape, const at::Tensor& logits, const at::Tensor& labels) {
  if (shape.problem == Problem::classification) {
    return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum);
  }
  return at::mse_loss(logits.squeeze(1), labels, at::Reduction::Sum);
}

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

}  // namespace

Engine::Engine(const EncoderShape& shape, at::ScalarType compute, Form form)
    : shape_((shape.check(), shape)),
      form_(form),
      arena_(Model::parameters(shape), form == Form::fused ? compute : at::kFloat),
      model_(Model::make(shape_, arena_, compute, form)),
      touched_words_(arena_, arena_.index_of("embeddings.word.weight")) {}

Engine::~Engine() { BlockCache::release_installed(); }

int64_t Engine::bytes() const {
  int64_t bytes = arena_.bytes();
  for (const auto& [slot, values] : snapshots_) bytes += static_cast<int64_t>(values.nbytes());
  return bytes;
}

void Engine::load(const std::string& name, const StoredValues& values) {
  at::Tensor target = arena_.value(arena_.index_of(name));
  if (values.bytes != static_cast<size_t>(target.numel()) * c10::elementSize(values.dtype)) {
    throw Error("ERR_CHECKPOINT", "the values of '" + name + "' have " + std::to_string(values.bytes) +
                                      " bytes, which does not fit its shape");
  }
  // from_blob needs an aligned address, which a slice of a file need not have.
  at::Tensor stored = at::empty(target.sizes(), values.dtype);
  std::memcpy(stored.data_ptr(), values.data, values.bytes);
  target.copy_(stored);
  arena_.values_changed();
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
  if (needs_start) {
    arena_.keep_start();
  } else {
    arena_.drop_start();
  }
  model_->mix_parameters(plan);
  arena_.allocate_moments();
  zero_again(arena_.moment1());
  zero_again(arena_.moment2());
}

void Engine::train_with(const std::vector<ParameterPlan>& plan) {
  std::vector<bool> frozen(plan.size());
  any_trained_ = false;
  for (size_t i = 0; i < plan.size(); ++i) {
    frozen[i] = plan[i].frozen;
    any_trained_ |= !plan[i].frozen;
  }
  model_->train_parameters(frozen);
  zero_again(arena_.gradients());
  plan_ = plan;
  touched_words_.clear();
  segments_ = cut_segments(arena_, plan_, touched_words_);
}

/// Words outside the step before have no gradient to be cleared of.
void Engine::zero_gradients() {
  model_->clear_gradients(touched_words_.table());
  touched_words_.zero_marked(arena_.gradients());
}

void Engine::accumulate(const PackedBatch& batch, const DrawKey& draws, int64_t rows_of_step, double& loss,
                        const std::atomic<bool>& stop) {
  if (!batch.labels.defined()) throw Error("ERR_DATA", "a training batch has no labels");
  touched_words_.mark(batch.token_ids);
  if (batch.decoder_ids.defined()) touched_words_.mark(batch.decoder_ids);
  const Model::Output output = model_->forward({batch, draws, stop, form_}, false);
  const at::Tensor part = summed_loss(shape_, output.logits, batch.labels) / static_cast<double>(rows_of_step);
  part.backward();
  loss += part.item<double>();
}

StepResult Engine::train(const std::vector<PackedBatch>& parts, const StepOptions& options,
                         const std::atomic<bool>& stop) {
  if (plan_.empty() || !arena_.moment1().defined()) throw Error("ERR_CONFIG", "train was called before setPlan");
  if (!any_trained_) throw Error("ERR_CONFIG", "the plan freezes every parameter, so there is nothing to train");
  if (parts.empty()) throw Error("ERR_DATA", "a training step has no rows");
  check_step(options);

  int64_t rows = 0;
  for (const PackedBatch& part : parts) rows += part.rows();
  arena_.refresh_compute();
  zero_gradients();
  DrawKey draws{
      .seed = options.order_seed, .step = options.step, .part = 0, .dropout = options.dropout, .mixout = true};
  StepResult result{0, 0, true};
  for (const PackedBatch& part : parts) {
    accumulate(part, draws, rows, result.loss, stop);
    ++draws.part;
  }

  const at::NoGradGuard no_grad;
  model_->finish_gradients();
  if (touched_words_.count() != segments_.words) segments_ = cut_segments(arena_, plan_, touched_words_);
  const auto& [bounds, settings, flags, words] = segments_;
  const at::Tensor squared_norm = operators::squared_norm(arena_.gradients(), bounds, flags);
  result.grad_norm = std::sqrt(squared_norm.item<double>());
  result.finite = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  if (!result.finite) return result;
  const std::optional<at::Tensor> start =
      arena_.start().defined() ? std::optional<at::Tensor>(arena_.start()) : std::nullopt;
  const std::optional<at::Tensor> copy =
      arena_.compute().defined() ? std::optional<at::Tensor>(arena_.compute()) : std::nullopt;
  operators::adamw_(arena_.values(), arena_.gradients(), arena_.moment1(), arena_.moment2(), start, bounds, settings,
                    flags, squared_norm, options.learning_rate, options.betas[0], options.betas[1], options.eps,
                    options.bias_correction, options.step, options.max_grad_norm, copy);
  return result;
}

ForwardResult Engine::forward(const PackedBatch& batch, bool hidden_states, const std::atomic<bool>& stop) {
  const at::NoGradGuard no_grad;
  arena_.refresh_compute();
  const Model::Output output = model_->forward({batch, {}, stop, form_}, hidden_states);
  ForwardResult result;
  result.logits = output.logits.contiguous();
  if (batch.labels.defined()) {
    result.loss = summed_loss(shape_, output.logits, batch.labels).item<double>() / static_cast<double>(batch.rows());
  }
  if (hidden_states) {
    result.hidden_states = at::stack(output.hidden_states).to(at::kFloat).contiguous();
    result.pooled = output.pooled.contiguous();
  }
  return result;
}

StepResult Engine::gradients(const PackedBatch& batch, const std::atomic<bool>& stop) {
  if (plan_.empty()) train_with(std::vector<ParameterPlan>(arena_.parameters().size()));
  arena_.refresh_compute();
  zero_gradients();
  StepResult result{0, 0, true};
  accumulate(batch, {}, batch.rows(), result.loss, stop);
  const at::NoGradGuard no_grad;
  model_->finish_gradients();
  segments_ = cut_segments(arena_, plan_, touched_words_);
  result.grad_norm =
      std::sqrt(operators::squared_norm(arena_.gradients(), segments_.bounds, segments_.flags).item<double>());
  result.finite = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  return result;
}

at::Tensor Engine::read_parameter(const std::string& name) const { return arena_.value(arena_.index_of(name)).clone(); }

at::Tensor Engine::read_gradient(const std::string& name) const {
  if (!arena_.gradients().defined()) throw Error("ERR_INTERNAL", "no gradient has been computed yet");
  return arena_.gradient(arena_.index_of(name)).clone();
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
  return length == 0 ? at::empty({0}, at::kFloat) : buffer_of(buffer).narrow(0, begin, end - begin).clone();
}

void Engine::write_buffer(ArenaBuffer buffer, const float* values, size_t count, std::optional<int64_t> begin) {
  const int64_t size = static_cast<int64_t>(count);
  const bool fits = begin ? *begin >= 0 && *begin <= arena_.elements() - size : size == arena_.elements();
  if (!fits) {
    throw Error("ERR_STATE", "a buffer of " + std::to_string(begin.value_or(0) + size) +
                                 " values does not fit a model of " + std::to_string(arena_.elements()));
  }
  if (buffer == ArenaBuffer::moment1 || buffer == ArenaBuffer::moment2) arena_.allocate_moments();
  if (buffer == ArenaBuffer::start) arena_.allocate_start();
  const at::Tensor& target = buffer_of(buffer);
  copy_to_pages(target.mutable_data_ptr<float>() + begin.value_or(0), values, size);
  if (buffer == ArenaBuffer::parameters) arena_.values_changed();
  if (!plan_.empty() && (buffer == ArenaBuffer::moment1 || buffer == ArenaBuffer::moment2)) {
    touched_words_.adopt(target);
  }
  // Decay towards the start moves untouched words as well once they lie elsewhere.
  if (!plan_.empty() && arena_.start().defined()) touched_words_.adopt(arena_.values() - arena_.start());
  if (!plan_.empty()) segments_ = cut_segments(arena_, plan_, touched_words_);
}

void Engine::snapshot(const std::string& slot) {
  at::Tensor& copy = snapshots_[slot];
  if (!copy.defined()) copy = at::empty_like(arena_.values());
  copy.copy_(arena_.values());
}

const at::Tensor& Engine::find_snapshot(const std::string& slot) const {
  const auto found = snapshots_.find(slot);
  if (found == snapshots_.end()) throw Error("ERR_INTERNAL", "there is no snapshot '" + slot + "'");
  return found->second;
}

void Engine::restore(const std::string& slot) {
  const at::NoGradGuard no_grad;
  arena_.values().copy_(find_snapshot(slot));
  arena_.values_changed();
}

void Engine::drop_snapshot(const std::string& slot) { snapshots_.erase(slot); }

at::Tensor Engine::read_snapshot(const std::string& slot, const std::string& name) const {
  return arena_.view(find_snapshot(slot), arena_.index_of(name)).clone();
}

std::vector<std::pair<std::string, double>> Engine::distances() const {
  if (!arena_.start().defined()) {
    throw Error("ERR_INTERNAL", "distances need the start values, which this plan does not keep");
  }
  const at::Tensor squares = operators::segment_squared_distance(arena_.values(), arena_.start(), arena_.bounds());
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
