#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>

#include "kernels/cuda/operators.h"

namespace steadytune::kernels::cuda {
namespace {

/// The segments of a call with scratch to cut them. What lies on the device is not checked there.
struct Segments {
  at::Tensor first_chunk;
  at::Tensor chunks;
  SegmentTable table;

  Segments(const at::Tensor& bounds, const std::optional<at::Tensor>& flags, const at::Tensor& buffer) {
    const int64_t segments = bounds.size(0);
    const int64_t most = most_chunks(buffer.numel(), segments);
    TORCH_CHECK(segments <= INT32_MAX && most <= INT32_MAX, "steadytune: an arena of ", buffer.numel(), " elements in ",
                segments, " segments is too large.");
    first_chunk = at::empty({segments + 1}, bounds.options().dtype(at::kInt));
    chunks = at::empty({most, static_cast<int64_t>(sizeof(Chunk) / sizeof(int64_t))}, bounds.options());
    table = {
        .bounds = bounds.const_data_ptr<int64_t>(),
        .flags = flags.has_value() ? flags->const_data_ptr<int32_t>() : nullptr,
        .segments = segments,
        .first_chunk = first_chunk.mutable_data_ptr<int32_t>(),
        .chunks = reinterpret_cast<Chunk*>(chunks.mutable_data_ptr<int64_t>()),
        .most_chunks = most,
    };
  }
};

template <typename Value>
const Value* pointer_or_null(const std::optional<at::Tensor>& tensor) {
  return tensor.has_value() && tensor->defined() ? tensor->const_data_ptr<Value>() : nullptr;
}

void run(const char* op, const AdamwTensors& tensors, const AdamwNumbers& numbers, const AdamwSchedule& schedule) {
  check_adamw(op, tensors, numbers);
  const at::Tensor& values = tensors.values;
  const OnDevice device(op, values);
  const Segments segments(tensors.bounds, tensors.flags, values);
  static_assert(sizeof(AdamwCoefficients) % sizeof(float) == 0);
  at::Tensor coefficients =
      at::empty({segments.table.segments, sizeof(AdamwCoefficients) / sizeof(float)}, values.options());
  at::Tensor stopped = at::empty({1}, tensors.flags.options());
  const bool copies = tensors.compute.has_value() && tensors.compute->defined();
  const AdamwBuffers buffers{
      .values = values.mutable_data_ptr<float>(),
      .gradients = tensors.gradients.const_data_ptr<float>(),
      .moment1 = tensors.moment1.mutable_data_ptr<float>(),
      .moment2 = tensors.moment2.mutable_data_ptr<float>(),
      .start = pointer_or_null<float>(tensors.start),
      .compute = copies ? tensors.compute->mutable_data_ptr<c10::BFloat16>() : nullptr,
      .settings = tensors.settings.const_data_ptr<float>(),
      .coefficients = reinterpret_cast<AdamwCoefficients*>(coefficients.mutable_data_ptr<float>()),
      .stopped = stopped.mutable_data_ptr<int32_t>(),
  };
  device.check(adamw(device.stream(), buffers, schedule, segments.table));
}

void adamw_(at::Tensor& values, const at::Tensor& gradients, at::Tensor& moment1, at::Tensor& moment2,
            const std::optional<at::Tensor>& start, const at::Tensor& bounds, const at::Tensor& settings,
            const at::Tensor& flags, const at::Tensor& squared_norm, double lr, double beta1, double beta2, double eps,
            bool bias_correction, int64_t step, double max_grad_norm, const std::optional<at::Tensor>& compute) {
  TORCH_CHECK(step >= 1, "steadytune::adamw_: step = ", step, " must count from 1.");
  const AdamwSchedule schedule{
      .lr = lr,
      .beta1 = beta1,
      .beta2 = beta2,
      .eps = eps,
      .max_grad_norm = max_grad_norm,
      .step = step,
      .bias_correction = bias_correction,
      .squared_norm = squared_norm.const_data_ptr<double>(),
      .device_lr = nullptr,
      .counter = nullptr,
      .loss = nullptr,
      .double_loss = nullptr,
      .diverged_at = nullptr,
  };
  run("adamw_", {values, gradients, moment1, moment2, start, bounds, settings, flags, squared_norm, compute},
      {beta1, beta2, eps, max_grad_norm}, schedule);
}

void adamw_scheduled_(at::Tensor& values, const at::Tensor& gradients, at::Tensor& moment1, at::Tensor& moment2,
                      const std::optional<at::Tensor>& start, const at::Tensor& bounds, const at::Tensor& settings,
                      const at::Tensor& flags, const at::Tensor& squared_norm, const at::Tensor& loss,
                      const at::Tensor& lr, const at::Tensor& counter, at::Tensor& diverged_at, double beta1,
                      double beta2, double eps, bool bias_correction, double max_grad_norm,
                      const std::optional<at::Tensor>& compute) {
  const char* op = "adamw_scheduled_";
  check_schedule(op, values, loss, lr, counter, diverged_at);
  const bool single = loss.scalar_type() == at::kFloat;
  const AdamwSchedule schedule{
      .lr = 0.0,
      .beta1 = beta1,
      .beta2 = beta2,
      .eps = eps,
      .max_grad_norm = max_grad_norm,
      .step = 0,
      .bias_correction = bias_correction,
      .squared_norm = squared_norm.const_data_ptr<double>(),
      .device_lr = lr.const_data_ptr<double>(),
      .counter = counter.const_data_ptr<int64_t>(),
      .loss = single ? loss.const_data_ptr<float>() : nullptr,
      .double_loss = single ? nullptr : loss.const_data_ptr<double>(),
      .diverged_at = diverged_at.mutable_data_ptr<int64_t>(),
  };
  run(op, {values, gradients, moment1, moment2, start, bounds, settings, flags, squared_norm, compute},
      {beta1, beta2, eps, max_grad_norm}, schedule);
}

at::Tensor squared_norm_operator(const at::Tensor& gradients, const at::Tensor& bounds, const at::Tensor& flags) {
  const char* op = "squared_norm";
  check_buffer(op, "gradients", gradients, gradients);
  check_bounds(op, bounds, gradients);
  check_flags(op, flags, bounds);
  const OnDevice device(op, gradients);
  const Segments segments(bounds, flags, gradients);
  at::Tensor parts = at::empty({segments.table.most_chunks}, gradients.options().dtype(at::kDouble));
  at::Tensor result = at::empty({}, parts.options());
  device.check(squared_norm(device.stream(), gradients.const_data_ptr<float>(), segments.table,
                            parts.mutable_data_ptr<double>(), result.mutable_data_ptr<double>()));
  return result;
}

at::Tensor segment_squared_distance_operator(const at::Tensor& values, const at::Tensor& start,
                                             const at::Tensor& bounds) {
  const char* op = "segment_squared_distance";
  check_buffer(op, "values", values, values);
  check_buffer(op, "start", start, values);
  check_bounds(op, bounds, values);
  const OnDevice device(op, values);
  const Segments segments(bounds, std::nullopt, values);
  at::Tensor parts = at::empty({segments.table.most_chunks}, values.options().dtype(at::kDouble));
  at::Tensor result = at::empty({segments.table.segments}, parts.options());
  device.check(segment_squared_distance(device.stream(), values.const_data_ptr<float>(), start.const_data_ptr<float>(),
                                        segments.table, parts.mutable_data_ptr<double>(),
                                        result.mutable_data_ptr<double>()));
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("adamw_", adamw_);
  m.impl("adamw_scheduled_", adamw_scheduled_);
  m.impl("squared_norm", squared_norm_operator);
  m.impl("segment_squared_distance", segment_squared_distance_operator);
}

}  // namespace steadytune::kernels::cuda
