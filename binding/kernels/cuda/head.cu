#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"
#include "kernels/head.h"

namespace steadytune::kernels::cuda {
namespace {

constexpr int threads = 256;

/// One block, which a batch of the usual size does not fill; a thread takes a row at a time.
__global__ void __launch_bounds__(threads) losses_kernel(const HeadLosses tensors) {
  double sum = 0.0;
  for (int64_t row = threadIdx.x; row < tensors.rows; row += threads) {
    const float* logits = tensors.logits + row * tensors.outputs;
    float* grad = tensors.grad_logits + row * tensors.outputs;
    sum += tensors.classes != nullptr ? cross_entropy(logits, tensors.outputs, tensors.classes[row], grad)
                                      : squared_error(*logits, tensors.scores[row], grad);
  }
  __shared__ double of_warps[threads / warp_size];
  sum = block_sum<threads>(sum, of_warps);
  if (threadIdx.x == 0) {
    *tensors.loss = static_cast<float>(sum);
  }
}

/// A thread takes an output with all its rows.
__global__ void __launch_bounds__(threads) scale_kernel(const float* grad_loss, const float* grad_logits, int64_t rows,
                                                        int64_t outputs, float* scaled, float* sums) {
  const int64_t output = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (output < outputs) {
    sums[output] = scale_output(*grad_loss, grad_logits + output, rows, outputs, scaled + output);
  }
}

}  // namespace

cudaError_t head_losses(cudaStream_t stream, const HeadLosses& tensors) {
  return launch(stream, losses_kernel, 1, threads, 0, tensors);
}

cudaError_t head_scale(cudaStream_t stream, const float* grad_loss, const float* grad_logits, int64_t rows,
                       int64_t outputs, float* scaled, float* sums) {
  return launch(stream, scale_kernel, blocks_for(outputs, threads), threads, 0, grad_loss, grad_logits, rows, outputs,
                scaled, sums);
}

}  // namespace steadytune::kernels::cuda
