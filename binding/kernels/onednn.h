#pragma once

namespace steadytune::kernels {

/// Whether oneDNN multiplies bfloat16 matrices on this processor (AVX-512, AMX and what follows them). Where it does
/// not, libtorch's own loops stand in, which take some forty times as long as its product in float32.
/// ONEDNN_MAX_CPU_ISA is honoured.
bool onednn_multiplies_bfloat16();

}  // namespace steadytune::kernels
