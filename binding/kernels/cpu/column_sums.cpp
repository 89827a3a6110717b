#include "kernels/cpu/column_sums.h"

#include <torch/library.h>

#include "kernels/checks.h"
#include "kernels/cpu/vector_kernels.h"

namespace steadytune::kernels::cpu {
namespace {

at::Tensor column_sums(const at::Tensor& x) {
  check_tokens("column_sums", "x", x);
  const int64_t columns = x.size(1);
  ColumnSums sums(x.size(0), columns);
  dispatch_floating(x.scalar_type(), [&]<typename Scalar>() {
    const Scalar* values = x.const_data_ptr<Scalar>();
    sums.for_each_chunk([&](int64_t begin, int64_t end, float* part) {
      vector_kernels().of<Scalar>().column_sums(values + begin * columns, end - begin, columns, part);
    });
  });
  return sums.total();
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) { m.impl("column_sums", column_sums); }

}  // namespace steadytune::kernels::cpu
