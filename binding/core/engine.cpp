#include "core/engine.h"

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/operators.h"
#include "kernels/adamw.h"

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

/// The ordinal of a parameter among those of its block (or of those outside the blocks): the site of its init stream.
int64_t ordinal_in_group(const std::vector<ParameterInfo>& parameters, size_t index) {
  int64_t ordinal = 0;
  for (size_t i = 0; i < index; ++i) {
    if (parameters[i].block == parameters[index].block) ++ordinal;
  }
  return ordinal;
}

}  // namespace

Engine::Engine(const EncoderShape& shape, at::ScalarType compute)
    : shape_((shape.check(), shape)), arena_(Bert::parameters(shape)), model_(shape, arena_, compute) {}

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
      const ParameterInfo& parameter = arena_.parameters()[index];
      const int64_t layer = parameter.block ? *parameter.block + 1 : 0;
      operators::normal_(value, plan.reset_std, init_seed, plan.reset_stream, layer,
                         ordinal_in_group(arena_.parameters(), index));
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
  }
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < count; ++i) reset(i, plan[i], init_seed);
  train_with(plan);

  bool needs_start = keep_start;
  for (const ParameterPlan& entry : plan) needs_start |= entry.decay_towards_start && entry.weight_decay > 0;
  if (needs_start) {
    arena_.keep_start();
  } else {
    arena_.drop_start();
  }
  arena_.allocate_moments();
  arena_.moment1().zero_();
  arena_.moment2().zero_();
}

void Engine::train_with(const std::vector<ParameterPlan>& plan) {
  const auto count = static_cast<int64_t>(plan.size());
  settings_ = at::empty({count, 2}, at::kFloat);
  flags_ = at::empty({count}, at::kInt);
  auto settings = settings_.accessor<float, 2>();
  auto flags = flags_.accessor<int32_t, 1>();
  std::vector<bool> frozen(plan.size());
  any_trained_ = false;
  for (int64_t i = 0; i < count; ++i) {
    const ParameterPlan& entry = plan[i];
    settings[i][0] = static_cast<float>(entry.lr_scale);
    settings[i][1] = static_cast<float>(entry.weight_decay);
    flags[i] = (entry.frozen ? segment_frozen : 0) | (entry.decay_towards_start ? segment_decay_towards_start : 0) |
               (entry.decay_scaled_by_lr ? 0 : segment_decay_unscaled);
    frozen[i] = entry.frozen;
    any_trained_ |= !entry.frozen;
  }
  model_.train_parameters(frozen);
  planned_ = true;
}

void Engine::accumulate(const PackedBatch& batch, const DropoutKey& dropout, int64_t rows_of_step, double& loss,
                        const std::atomic<bool>& stop) {
  if (!batch.labels.defined()) throw Error("ERR_DATA", "a training batch has no labels");
  const Bert::Output output = model_.forward(batch, dropout, false, stop);
  const at::Tensor part = summed_loss(shape_, output.logits, batch.labels) / static_cast<double>(rows_of_step);
  part.backward();
  loss += part.item<double>();
}

StepResult Engine::train(const std::vector<PackedBatch>& parts, const StepOptions& options,
                         const std::atomic<bool>& stop) {
  if (!planned_) throw Error("ERR_CONFIG", "train was called before setPlan");
  if (!any_trained_) throw Error("ERR_CONFIG", "the plan freezes every parameter, so there is nothing to train");
  if (parts.empty()) throw Error("ERR_DATA", "a training step has no rows");
  check_step(options);

  int64_t rows = 0;
  for (const PackedBatch& part : parts) rows += part.rows();
  arena_.gradients().zero_();
  const DropoutKey dropout{options.order_seed, options.step, options.dropout};
  StepResult result{0, 0, true};
  for (const PackedBatch& part : parts) accumulate(part, dropout, rows, result.loss, stop);

  const at::NoGradGuard no_grad;
  const at::Tensor squared_norm = operators::squared_norm(arena_.gradients(), arena_.bounds(), flags_);
  result.grad_norm = std::sqrt(squared_norm.item<double>());
  result.finite = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  if (!result.finite) return result;
  const std::optional<at::Tensor> start =
      arena_.start().defined() ? std::optional<at::Tensor>(arena_.start()) : std::nullopt;
  operators::adamw_(arena_.values(), arena_.gradients(), arena_.moment1(), arena_.moment2(), start, arena_.bounds(),
                    settings_, flags_, squared_norm, options.learning_rate, options.betas[0], options.betas[1],
                    options.eps, options.bias_correction, options.step, options.max_grad_norm, std::nullopt);
  return result;
}

ForwardResult Engine::forward(const PackedBatch& batch, bool hidden_states, const std::atomic<bool>& stop) {
  const at::NoGradGuard no_grad;
  const Bert::Output output = model_.forward(batch, {}, hidden_states, stop);
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
  if (!planned_) train_with(std::vector<ParameterPlan>(arena_.parameters().size()));
  arena_.gradients().zero_();
  StepResult result{0, 0, true};
  accumulate(batch, {}, batch.rows(), result.loss, stop);
  const at::NoGradGuard no_grad;
  result.grad_norm = std::sqrt(operators::squared_norm(arena_.gradients(), arena_.bounds(), flags_).item<double>());
  result.finite = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  return result;
}

at::Tensor Engine::read_parameter(const std::string& name) const { return arena_.value(arena_.index_of(name)).clone(); }

at::Tensor Engine::read_gradient(const std::string& name) const {
  if (!arena_.gradients().defined()) throw Error("ERR_INTERNAL", "no gradient has been computed yet");
  return arena_.gradient(arena_.index_of(name)).clone();
}

at::Tensor Engine::read_buffer(ArenaBuffer buffer) const {
  const at::Tensor& source = buffer == ArenaBuffer::parameters ? arena_.values()
                             : buffer == ArenaBuffer::moment1  ? arena_.moment1()
                             : buffer == ArenaBuffer::moment2  ? arena_.moment2()
                                                               : arena_.start();
  return source.defined() ? source.clone() : at::empty({0}, at::kFloat);
}

void Engine::write_buffer(ArenaBuffer buffer, const float* values, size_t count) {
  if (count != static_cast<size_t>(arena_.elements())) {
    throw Error("ERR_STATE", "a buffer of " + std::to_string(count) + " values does not fit a model of " +
                                 std::to_string(arena_.elements()));
  }
  if (buffer == ArenaBuffer::moment1 || buffer == ArenaBuffer::moment2) arena_.allocate_moments();
  if (buffer == ArenaBuffer::start) arena_.allocate_start();
  const at::Tensor& target = buffer == ArenaBuffer::parameters ? arena_.values()
                             : buffer == ArenaBuffer::moment1  ? arena_.moment1()
                             : buffer == ArenaBuffer::moment2  ? arena_.moment2()
                                                               : arena_.start();
  std::memcpy(target.data_ptr(), values, count * sizeof(float));
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
