#include "kernels/instruction_set.h"

#include <ATen/Version.h>

#include <string>

#include "kernels/cpu/vector_kernels.h"

namespace steadytune::kernels {
namespace {

const cpu::VectorKernels& choose() {
  const std::string capability = at::get_cpu_capability();
  if (capability == "AVX512" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return cpu::avx512_kernels;
  }
  if ((capability == "AVX2" || capability == "AVX512") && __builtin_cpu_supports("avx2") &&
      __builtin_cpu_supports("fma")) {
    return cpu::avx2_kernels;
  }
  return cpu::default_kernels;
}

}  // namespace

namespace cpu {

const VectorKernels& vector_kernels() {
  static const VectorKernels& chosen = choose();
  return chosen;
}

}  // namespace cpu

const char* instruction_set() { return cpu::vector_kernels().name; }

}  // namespace steadytune::kernels
