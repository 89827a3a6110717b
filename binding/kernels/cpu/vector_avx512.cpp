#define CPU_CAPABILITY AVX512
#define CPU_CAPABILITY_AVX512

#include "kernels/cpu/vector_table.h"

namespace steadytune::kernels::cpu {

constinit const VectorKernels avx512_kernels = vector_table("avx512");

}  // namespace steadytune::kernels::cpu
