#define CPU_CAPABILITY AVX512_BF16
#define CPU_CAPABILITY_AVX512

#include "kernels/cpu/vector_table.h"

namespace steadytune::kernels::cpu {

constinit const VectorKernels avx512_bf16_kernels = vector_table("avx512_bf16");

}  // namespace steadytune::kernels::cpu
