#pragma once

namespace steadytune::kernels {

/// The instruction set that the CPU kernels of this process run with: "default", "avx2", "avx512" or "avx512_bf16". It
/// follows libtorch's own choice, so ATEN_CPU_CAPABILITY (default, avx2, avx512) lowers both, and oneDNN's, so
/// ONEDNN_MAX_CPU_ISA below AVX512_CORE_BF16 takes the last of them away from both.
const char* instruction_set();

}  // namespace steadytune::kernels
