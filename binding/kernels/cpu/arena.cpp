#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cmath>
#include <optional>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/checks.h"
#include "kernels/cpu/vector_kernels.h"

// Operators over the arena's flat buffers. Segments are cut into chunks of fixed size, counted from the segment's
// begin, and threads share whole chunks: so neither the sums nor the tails depend on the number of threads.
namespace steadytune::kernels::cpu {
namespace {

constexpr int64_t chunk_elements = 32768;

struct Chunk {
  int64_t segment;
  int64_t begin;
  int64_t end;
};

/// `flags` may be null: then no segment is frozen.
std::vector<Chunk> plan_chunks(const int64_t* bounds, int64_t segments, const int32_t* flags) {
  std::vector<Chunk> chunks;
  for (int64_t segment = 0; segment < segments; ++segment) {
    if (flags != nullptr && (flags[segment] & segment_frozen) != 0) {
      continue;
    }
    for (int64_t begin = bounds[2 * segment]; begin < bounds[2 * segment + 1]; begin += chunk_elements) {
      chunks.push_back({segment, begin, std::min(begin + chunk_elements, bounds[2 * segment + 1])});
    }
  }
  return chunks;
}

void adamw_(at::Tensor& values, const at::Tensor& gradients, at::Tensor& moment1, at::Tensor& moment2,
            const std::optional<at::Tensor>& start, const at::Tensor& bounds, const at::Tensor& settings,
            const at::Tensor& flags, const at::Tensor& squared_norm, double lr, double beta1, double beta2, double eps,
            bool bias_correction, int64_t step, double max_grad_norm, const std::optional<at::Tensor>& compute) {
  const char* op = "adamw_";
  check_adamw(op, {values, gradients, moment1, moment2, start, bounds, settings, flags, squared_norm, compute},
              {beta1, beta2, eps, max_grad_norm});
  TORCH_CHECK(step >= 1, "steadytune::adamw_: step = ", step, " must count from 1.");
  const bool has_start = start.has_value() && start->defined();
  const bool copies = compute.has_value() && compute->defined();
  const int64_t segments = bounds.size(0);

  const double squares = *squared_norm.const_data_ptr<double>();
  if (!std::isfinite(squares)) {
    return;
  }
  const AdamwStep shared = adamw_step(lr, beta1, beta2, eps, bias_correction, step, max_grad_norm, squares);
  const int32_t* flag = flags.const_data_ptr<int32_t>();
  const float* setting = settings.const_data_ptr<float>();
  std::vector<AdamwCoefficients> coefficients(segments);
  for (int64_t segment = 0; segment < segments; ++segment) {
    const float decay = setting[2 * segment + 1];
    TORCH_CHECK(has_start || (flag[segment] & segment_decay_towards_start) == 0 || decay == 0.0f,
                "steadytune::adamw_: segment ", segment, " decays towards the start, but no start values were given.");
    coefficients[segment] = adamw_coefficients(shared, setting[2 * segment], decay, flag[segment]);
  }

  float* value = values.mutable_data_ptr<float>();
  const float* gradient = gradients.const_data_ptr<float>();
  float* first = moment1.mutable_data_ptr<float>();
  float* second = moment2.mutable_data_ptr<float>();
  const float* origin = has_start ? start->const_data_ptr<float>() : nullptr;
  c10::BFloat16* copy = copies ? compute->mutable_data_ptr<c10::BFloat16>() : nullptr;
  const std::vector<Chunk> chunks = plan_chunks(bounds.const_data_ptr<int64_t>(), segments, flag);
  at::parallel_for(0, static_cast<int64_t>(chunks.size()), 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      const auto& [segment, begin, end] = chunks[i];
      const AdamwCoefficients& c = coefficients[segment];
      const bool towards_start = (flag[segment] & segment_decay_towards_start) != 0 && c.decay != 0.0f;
      vector_kernels().adamw(c, value + begin, gradient + begin, first + begin, second + begin,
                             towards_start ? origin + begin : nullptr, copies ? copy + begin : nullptr, end - begin);
    }
  });
}

double number_of(const at::Tensor& loss) {
  return loss.scalar_type() == at::kFloat ? *loss.const_data_ptr<float>() : *loss.const_data_ptr<double>();
}

void adamw_scheduled_(at::Tensor& values, const at::Tensor& gradients, at::Tensor& moment1, at::Tensor& moment2,
                      const std::optional<at::Tensor>& start, const at::Tensor& bounds, const at::Tensor& settings,
                      const at::Tensor& flags, const at::Tensor& squared_norm, const at::Tensor& loss,
                      const at::Tensor& lr, const at::Tensor& counter, at::Tensor& diverged_at, double beta1,
                      double beta2, double eps, bool bias_correction, double max_grad_norm,
                      const std::optional<at::Tensor>& compute) {
  const char* op = "adamw_scheduled_";
  check_schedule(op, values, loss, lr, counter, diverged_at);
  check_tensor(op, "squared_norm", squared_norm, at::kDouble, 0);
  const int64_t step = counter.const_data_ptr<int64_t>()[0];
  int64_t& diverged = *diverged_at.mutable_data_ptr<int64_t>();
  if (diverged == 0 && !(std::isfinite(number_of(loss)) && std::isfinite(*squared_norm.const_data_ptr<double>()))) {
    diverged = step;
  }
  if (diverged != 0) {
    return;
  }
  adamw_(values, gradients, moment1, moment2, start, bounds, settings, flags, squared_norm,
         *lr.const_data_ptr<double>(), beta1, beta2, eps, bias_correction, step, max_grad_norm, compute);
}

at::Tensor squared_norm(const at::Tensor& gradients, const at::Tensor& bounds, const at::Tensor& flags) {
  const char* op = "squared_norm";
  check_buffer(op, "gradients", gradients, gradients);
  check_bounds(op, bounds, gradients);
  check_flags(op, flags, bounds);
  const float* gradient = gradients.const_data_ptr<float>();
  const std::vector<Chunk> chunks =
      plan_chunks(bounds.const_data_ptr<int64_t>(), bounds.size(0), flags.const_data_ptr<int32_t>());
  std::vector<double> sums(chunks.size());
  at::parallel_for(0, static_cast<int64_t>(chunks.size()), 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      sums[i] = vector_kernels().squared_sum(gradient + chunks[i].begin, chunks[i].end - chunks[i].begin);
    }
  });
  double sum = 0.0;
  for (const double part : sums) {
    sum += part;
  }
  at::Tensor result = at::empty({}, gradients.options().dtype(at::kDouble));
  *result.mutable_data_ptr<double>() = sum;
  return result;
}

at::Tensor segment_squared_distance(const at::Tensor& values, const at::Tensor& start, const at::Tensor& bounds) {
  const char* op = "segment_squared_distance";
  check_buffer(op, "values", values, values);
  check_buffer(op, "start", start, values);
  check_bounds(op, bounds, values);
  const float* value = values.const_data_ptr<float>();
  const float* origin = start.const_data_ptr<float>();
  const std::vector<Chunk> chunks = plan_chunks(bounds.const_data_ptr<int64_t>(), bounds.size(0), nullptr);
  std::vector<double> sums(chunks.size());
  at::parallel_for(0, static_cast<int64_t>(chunks.size()), 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      const auto& [segment, begin, end] = chunks[i];
      sums[i] = vector_kernels().squared_distance(value + begin, origin + begin, end - begin);
    }
  });
  at::Tensor result = at::empty({bounds.size(0)}, values.options().dtype(at::kDouble));
  double* by_segment = result.mutable_data_ptr<double>();
  std::fill_n(by_segment, bounds.size(0), 0.0);
  for (size_t i = 0; i < chunks.size(); ++i) {
    by_segment[chunks[i].segment] += sums[i];
  }
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) {
  m.impl("adamw_", adamw_);
  m.impl("adamw_scheduled_", adamw_scheduled_);
  m.impl("squared_norm", squared_norm);
  m.impl("segment_squared_distance", segment_squared_distance);
}

}  // namespace steadytune::kernels::cpu
