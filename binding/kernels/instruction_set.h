#pragma once

namespace steadytune::kernels {

/// The instruction set that the CPU kernels of this process run with: "default", "avx2" or "avx512". It follows
/// libtorch's own choice, so ATEN_CPU_CAPABILITY (default, avx2, avx512) lowers both.
const char* instruction_set();

}  // namespace steadytune::kernels
