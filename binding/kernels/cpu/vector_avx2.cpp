#define CPU_CAPABILITY AVX2
#define CPU_CAPABILITY_AVX2

#include "kernels/cpu/vector_table.h"

namespace steadytune::kernels::cpu {

constinit const VectorKernels avx2_kernels = vector_table("avx2");

}  // namespace steadytune::kernels::cpu
