#include "kernels/mixout.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/vector_kernels.h"

namespace steadytune::kernels::cpu {
namespace {

/// Elements that are drawn and mixed while their factors lie in the first-level cache. Pieces are cut without regard to
/// the number of threads.
constexpr int64_t piece_elements = 2048;

/// Factors [parts, columns] of drawn masks per column.
at::Tensor draw_columns(const std::vector<MixoutDraw>& draws, int64_t columns, const at::TensorOptions& options) {
  at::Tensor factors = at::empty({static_cast<int64_t>(draws.size()), columns}, options.dtype(at::kFloat));
  float* to = factors.mutable_data_ptr<float>();
  for (const MixoutDraw& draw : draws) {
    vector_kernels().mixout_factors(draw, 0, columns, to);
    to += columns;
  }
  return factors;
}

/// Factors in the shape of a mask that was given.
at::Tensor factors_of(const at::Tensor& mask, double p, bool scaled) {
  const float kept = scaled ? static_cast<float>(1.0 / (1.0 - p)) : 1.0f;
  const at::Tensor replaced = mask.to(at::kBool).contiguous();
  at::Tensor factors = at::empty(mask.sizes(), mask.options().dtype(at::kFloat));
  std::transform(replaced.const_data_ptr<bool>(), replaced.const_data_ptr<bool>() + replaced.numel(),
                 factors.mutable_data_ptr<float>(), [=](bool replace) { return replace ? 0.0f : kept; });
  return factors;
}

/// Calls body(first, count, factors) for pieces that cover `like` [rows, columns] once, on all threads: `first` counts
/// elements, `factors` begins at the piece. `scaled`: factors have the 1 / (1 - p) in them.
template <typename Body>
void for_each_piece(const char* op, const at::Tensor& like, const MixoutArguments& arguments, bool scaled,
                    const Body& body) {
  const std::vector<MixoutDraw> draws = check_mixout(op, like, arguments, scaled);
  const auto parts = static_cast<int64_t>(draws.size());
  const int64_t columns = like.size(1);
  const bool given = arguments.mask.has_value() && arguments.mask->defined();
  const at::Tensor factors = given              ? factors_of(*arguments.mask, arguments.p[0], scaled)
                             : arguments.column ? draw_columns(draws, columns, like.options())
                                                : at::Tensor();
  const float* factor = factors.defined() ? factors.const_data_ptr<float>() : nullptr;
  if (arguments.column) {
    const int64_t rows_of_part = like.size(0) / parts;
    const int64_t grain = std::max<int64_t>(1, parallel_grain_elements / std::max<int64_t>(1, columns));
    at::parallel_for(0, like.size(0), grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        body(row * columns, columns, factor + row / rows_of_part * columns);
      }
    });
    return;
  }
  const int64_t part_elements = like.numel() / parts;
  const int64_t pieces_of_part = (part_elements + piece_elements - 1) / piece_elements;
  constexpr int64_t grain = parallel_grain_elements / piece_elements;
  at::parallel_for(0, parts * pieces_of_part, grain, [&](int64_t begin, int64_t end) {
    float drawn[piece_elements];
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t part = piece / pieces_of_part;
      const int64_t first = piece % pieces_of_part * piece_elements;
      const int64_t count = std::min(piece_elements, part_elements - first);
      if (given) {
        body(first, count, factor + first);
      } else {
        vector_kernels().mixout_factors(draws[part], first, count, drawn);
        body(part * part_elements + first, count, drawn);
      }
    }
  });
}

at::Tensor mixout(const at::Tensor& values, const at::Tensor& target, const std::optional<at::Tensor>& mask,
                  at::ArrayRef<double> p, bool column, bool /*exact_gradient*/, at::ScalarType dtype, int64_t seed,
                  int64_t layer, int64_t site, int64_t step, int64_t micro_batch,
                  const std::optional<at::Tensor>& counter) {
  const char* op = "mixout";
  check_mixout_values(values, target, dtype);
  at::Tensor output = at::empty(values.sizes(), values.options().dtype(dtype));
  const HostPlace place = host_place(op, seed, step, micro_batch, counter, values);
  const float* value = values.const_data_ptr<float>();
  const float* start = target.const_data_ptr<float>();
  dispatch_floating(dtype, [&]<typename Scalar>() {
    Scalar* to = output.mutable_data_ptr<Scalar>();
    for_each_piece(op, values, {mask, p, column, place.seed, layer, site, place.step, place.micro_batch}, true,
                   [&](int64_t first, int64_t count, const float* factors) {
                     vector_kernels().of<Scalar>().mixout(value + first, start + first, factors, to + first, count);
                   });
  });
  return output;
}

at::Tensor mixout_backward(const at::Tensor& grad_output_any, const std::optional<at::Tensor>& mask,
                           at::ArrayRef<double> p, bool column, bool exact_gradient, int64_t seed, int64_t layer,
                           int64_t site, int64_t step, int64_t micro_batch, const std::optional<at::Tensor>& counter) {
  const char* op = "mixout_backward";
  check_floating(op, "grad_output", grad_output_any, 2);
  const at::Tensor grad_output = grad_output_any.contiguous();
  at::Tensor grad_values = at::empty(grad_output.sizes(), grad_output.options().dtype(at::kFloat));
  const HostPlace place = host_place(op, seed, step, micro_batch, counter, grad_output);
  float* to = grad_values.mutable_data_ptr<float>();
  dispatch_floating(grad_output.scalar_type(), [&]<typename Scalar>() {
    const Scalar* from = grad_output.const_data_ptr<Scalar>();
    for_each_piece(op, grad_output, {mask, p, column, place.seed, layer, site, place.step, place.micro_batch},
                   exact_gradient, [&](int64_t first, int64_t count, const float* factors) {
                     vector_kernels().of<Scalar>().mixout_backward(from + first, factors, to + first, count);
                   });
  });
  return grad_values;
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) {
  m.impl("mixout", mixout);
  m.impl("mixout_backward", mixout_backward);
}

}  // namespace steadytune::kernels::cpu
