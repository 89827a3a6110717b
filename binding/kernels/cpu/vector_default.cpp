#define CPU_CAPABILITY DEFAULT
#define CPU_CAPABILITY_DEFAULT

#include "kernels/cpu/vector_table.h"

namespace steadytune::kernels::cpu {

constinit const VectorKernels default_kernels = vector_table("default");

}  // namespace steadytune::kernels::cpu
