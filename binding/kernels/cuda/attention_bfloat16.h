#pragma once

#include "kernels/cuda/kernels.h"

namespace steadytune::kernels::cuda {

/// attention() and attention_backward() of bfloat16.
cudaError_t attention_bfloat16(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                               const AttentionTokens<const c10::BFloat16>& tokens, c10::BFloat16* output,
                               float* logsumexp);
cudaError_t attention_backward_bfloat16(cudaStream_t stream, const AttentionBatch& batch, const DeviceDraw& draw,
                                        const c10::BFloat16* grad_output,
                                        const AttentionTokens<const c10::BFloat16>& tokens, const float* logsumexp,
                                        float* means, const AttentionTokens<c10::BFloat16>& grads);

}  // namespace steadytune::kernels::cuda
