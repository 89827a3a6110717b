#pragma once

#include <c10/core/Device.h>
#include <cuda_runtime.h>

namespace steadytune::kernels::cuda {

/// The stream that libtorch would use on this device now.
cudaStream_t current_stream(c10::Device device);

}  // namespace steadytune::kernels::cuda
