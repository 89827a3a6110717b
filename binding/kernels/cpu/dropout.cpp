#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <optional>

#include "kernels/checks.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/vector_kernels.h"

namespace steadytune::kernels::cpu {
namespace {

at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed,
                   int64_t layer, int64_t site, int64_t step, const std::optional<at::Tensor>& counter) {
  check_dropout(x, rows, positions);
  const DropoutDraw draw = host_draw("dropout", p, seed, layer, site, step, counter, x);
  if (draw.threshold == 0) {
    return x;
  }
  const at::Tensor input = x.contiguous();
  at::Tensor output = at::empty_like(input);
  const int64_t columns = input.size(1);
  const int32_t* row = rows.const_data_ptr<int32_t>();
  const int32_t* position = positions.const_data_ptr<int32_t>();
  dispatch_floating(input.scalar_type(), [&]<typename Scalar>() {
    const Scalar* from = input.const_data_ptr<Scalar>();
    Scalar* to = output.mutable_data_ptr<Scalar>();
    const int64_t grain = std::max<int64_t>(1, parallel_grain_elements / std::max<int64_t>(1, columns));
    at::parallel_for(0, input.size(0), grain, [&](int64_t begin, int64_t end) {
      vector_kernels().of<Scalar>().dropout(from + begin * columns, to + begin * columns, row + begin, position + begin,
                                            end - begin, columns, draw);
    });
  });
  return output;
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) { m.impl("dropout", dropout); }

}  // namespace steadytune::kernels::cpu
