#include "kernels/instruction_set.h"

#include <ATen/Version.h>

#include <cstdlib>
#include <string>

#include "kernels/cpu/vector_kernels.h"

namespace steadytune::kernels {
namespace {

/// Whether oneDNN, which multiplies bfloat16 matrices, is held to instruction sets without bfloat16: then attention
/// keeps to the same.
bool onednn_is_lowered() {
  const char* limit = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (limit == nullptr) return false;
  for (const std::string lower :
       {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}) {
    if (limit == lower) return true;
  }
  return false;
}

const cpu::VectorKernels& choose() {
  const std::string capability = at::get_cpu_capability();
  if (capability == "AVX512" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    const bool pairs = __builtin_cpu_supports("avx512bf16") && !onednn_is_lowered();
    return pairs ? cpu::avx512_bf16_kernels : cpu::avx512_kernels;
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
