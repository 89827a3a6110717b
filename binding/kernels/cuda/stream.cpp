#include "kernels/cuda/stream.h"

#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace steadytune::kernels::cuda {

// Through the interface that every device registers with libc10, so that nothing of libc10_cuda is linked: the library
// is built in full where libtorch came without its CUDA part.
cudaStream_t current_stream(c10::Device device) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  return static_cast<cudaStream_t>(guard.getStream(device).native_handle());
}

}  // namespace steadytune::kernels::cuda
