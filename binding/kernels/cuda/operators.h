#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Exception.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <optional>

#include "kernels/checks.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/stream.h"

/// What the operators share. They check, allocate through libtorch (so by its caching allocator), and start kernels on
/// its current stream; nothing waits for the device or reads its memory, so all of them may be captured in a graph.
namespace steadytune::kernels::cuda {

/// Makes the device of a tensor the current one while it lives.
class OnDevice {
 public:
  OnDevice(const char* op, const at::Tensor& tensor)
      : op_(op), guard_(tensor.device()), stream_(current_stream(tensor.device())) {}

  cudaStream_t stream() const { return stream_; }

  void check(cudaError_t error) const {
    // It stays behind as the thread's last one, which libtorch would report of its own next kernel.
    if (error != cudaSuccess) static_cast<void>(cudaGetLastError());
    TORCH_CHECK(error == cudaSuccess, "steadytune::", op_, ": ", cudaGetErrorString(error), " (CUDA error ",
                static_cast<int>(error), ").");
  }

 private:
  const char* op_;
  c10::DeviceGuard guard_;
  cudaStream_t stream_;
};

/// Calls body.operator()<float>() or body.operator()<c10::BFloat16>(); the dtype has been checked before.
template <typename Body>
void dispatch_floating(at::ScalarType dtype, Body&& body) {
  if (dtype == at::kFloat) {
    body.template operator()<float>();
  } else {
    body.template operator()<c10::BFloat16>();
  }
}

inline DeviceDraw device_draw(const char* op, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
                              const std::optional<at::Tensor>& counter, const at::Tensor& like) {
  return {checked_draw(op, Stream::dropout, p, seed, layer, site, step), check_counter(op, counter, like)};
}

inline TokenMask token_mask(const at::Tensor& rows, const at::Tensor& positions, const DeviceDraw& draw) {
  return {rows.const_data_ptr<int32_t>(), positions.const_data_ptr<int32_t>(), draw};
}

/// Tokens lie along the first axis of the grid of blocks, chunks of them along the second.
inline Shape checked_shape(const char* op, int64_t tokens, int64_t columns) {
  constexpr int64_t most_tokens = 65535 * chunk_tokens;
  TORCH_CHECK(tokens <= most_tokens, "steadytune::", op, ": ", tokens, " tokens are more than ", most_tokens,
              ", the most on CUDA.");
  return {tokens, columns};
}

inline Shape checked_shape(const char* op, const at::Tensor& tokens) {
  return checked_shape(op, tokens.size(0), tokens.size(1));
}

}  // namespace steadytune::kernels::cuda
