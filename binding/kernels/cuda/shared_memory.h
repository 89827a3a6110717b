#pragma once

#include <cuda_runtime.h>

/// Shared memory of the size that a kernel was launched with. CUDA has one name for it in a file, so it stands outside
/// of any namespace. Included by *.cu alone.
extern __shared__ float4 steadytune_shared_memory[];
