#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/BFloat16.h>

#include <cstdint>
#include <utility>

namespace steadytune::kernels::cpu {

/// Elements below which waking another thread costs more than it saves.
inline constexpr int64_t parallel_grain_elements = 16384;

/// Calls body.operator()<float>() or body.operator()<c10::BFloat16>(); the dtype has been checked before.
template <typename Body>
void dispatch_floating(at::ScalarType dtype, Body&& body) {
  if (dtype == at::kFloat) {
    body.template operator()<float>();
  } else {
    body.template operator()<c10::BFloat16>();
  }
}

}  // namespace steadytune::kernels::cpu
