#include "kernels/normal.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/checks.h"
#include "kernels/cpu/dispatch.h"

namespace steadytune::kernels::cpu {
namespace {

void normal_(at::Tensor& x, double std, int64_t seed, int64_t stream, int64_t layer, int64_t site) {
  const PhiloxKey key = check_normal(x, std, seed, stream, layer, site);
  float* values = x.mutable_data_ptr<float>();
  const int64_t count = x.numel();
  constexpr int64_t block_elements = 4;
  at::parallel_for(0, (count + block_elements - 1) / block_elements, parallel_grain_elements / 16,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t block = begin; block < end; ++block) {
                       double normals[block_elements];
                       normal_block(key, static_cast<uint64_t>(block), normals);
                       const int64_t first = block * block_elements;
                       const int64_t size = std::min(block_elements, count - first);
                       for (int64_t i = 0; i < size; ++i) {
                         values[first + i] = static_cast<float>(std * normals[i]);
                       }
                     }
                   });
}

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) { m.impl("normal_", normal_); }

}  // namespace steadytune::kernels::cpu
