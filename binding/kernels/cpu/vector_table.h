#pragma once

#include "kernels/cpu/vector_activation.h"
#include "kernels/cpu/vector_arena.h"
#include "kernels/cpu/vector_attention.h"
#include "kernels/cpu/vector_dropout.h"
#include "kernels/cpu/vector_embeddings.h"
#include "kernels/cpu/vector_mixout.h"
#include "kernels/cpu/vector_norm.h"
#include "kernels/cpu/vector_relative_attention.h"
#include "kernels/cpu/vector_summary_attention.h"

namespace steadytune::kernels::cpu {
namespace {

template <typename Scalar>
constexpr ScalarKernels<Scalar> scalar_kernels = {
    .attention_forward_scratch = scratch_floats<ForwardScratch, Scalar>,
    .attention_backward_scratch = scratch_floats<BackwardScratch, Scalar>,
    .dropout = dropout_tokens<Scalar>,
    .attention_forward = attention_forward<Scalar>,
    .attention_backward = attention_backward<Scalar>,
    .summary_attention = summary_attention<Scalar>,
    .summary_attention_backward = summary_attention_backward<Scalar>,
    .relative_attention = relative_attention<Scalar>,
    .relative_attention_backward = relative_attention_backward<Scalar>,
    .bias_activation = bias_activation<Scalar>,
    .bias_activation_backward = bias_activation_backward<Scalar>,
    .add_norm = add_norm<Scalar>,
    .add_norm_backward = add_norm_backward<Scalar>,
    .embed = embed<Scalar>,
    .embed_backward = embed_backward<Scalar>,
    .column_sums = column_sums<Scalar>,
    .adamw = adamw_segment<Scalar>,
    .squared_sum = squared_sum<Scalar>,
    .mixout = mixout_elements<Scalar>,
    .mixout_backward = mixout_backward_elements<Scalar>,
};

constexpr VectorKernels vector_table(const char* name) {
  return {
      .name = name,
      .float32 = scalar_kernels<float>,
      .bfloat16 = scalar_kernels<c10::BFloat16>,
      .summary_attention_scratch = summary_scratch_floats,
      .relative_attention_scratch = relative_scratch_floats<RelativeForwardScratch>,
      .relative_attention_backward_scratch = relative_scratch_floats<RelativeBackwardScratch>,
      .mixout_factors = mixout_factors,
      .squared_distance = squared_distance,
  };
}

}  // namespace
}  // namespace steadytune::kernels::cpu
