#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <tuple>

/// Typed calls of the operators that binding/kernels registers; the device of the tensors picks the kernel.
namespace steadytune::operators {

at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed,
                   int64_t layer, int64_t site, int64_t step);

std::tuple<at::Tensor, at::Tensor> packed_attention(const at::Tensor& qkv, const at::Tensor& row_offsets,
                                                    const at::Tensor& row_numbers, int64_t heads, bool causal, double p,
                                                    int64_t seed, int64_t layer, int64_t site, int64_t step);

/// The weight that a forward pass multiplies with, in `dtype`; schema.cpp says what the arguments are.
at::Tensor mixout(const at::Tensor& values, const at::Tensor& target, const std::optional<at::Tensor>& mask,
                  at::ArrayRef<double> p, bool column, bool exact_gradient, at::ScalarType dtype, int64_t seed,
                  int64_t layer, int64_t site, int64_t step, int64_t micro_batch);

void adamw_(const at::Tensor& values, const at::Tensor& gradients, const at::Tensor& moment1, const at::Tensor& moment2,
            const std::optional<at::Tensor>& start, const at::Tensor& bounds, const at::Tensor& settings,
            const at::Tensor& flags, const at::Tensor& squared_norm, double lr, double beta1, double beta2, double eps,
            bool bias_correction, int64_t step, double max_grad_norm);

at::Tensor squared_norm(const at::Tensor& gradients, const at::Tensor& bounds, const at::Tensor& flags);

at::Tensor segment_squared_distance(const at::Tensor& values, const at::Tensor& start, const at::Tensor& bounds);

void normal_(const at::Tensor& x, double std, int64_t seed, int64_t stream, int64_t layer, int64_t site);

}  // namespace steadytune::operators
