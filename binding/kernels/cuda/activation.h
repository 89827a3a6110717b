#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

/// The operators of these names, for others that begin or end with them.
namespace steadytune::kernels::cuda {

at::Tensor bias_activation_operator(const at::Tensor& x, const at::Tensor& bias, int64_t activation,
                                    const at::Tensor& rows, const at::Tensor& positions, double p, int64_t seed,
                                    int64_t layer, int64_t site, int64_t step,
                                    const std::optional<at::Tensor>& counter);

std::tuple<at::Tensor, at::Tensor> bias_activation_backward_operator(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& bias, int64_t activation, const at::Tensor& rows,
    const at::Tensor& positions, double p, int64_t seed, int64_t layer, int64_t site, int64_t step,
    const std::optional<at::Tensor>& counter);

}  // namespace steadytune::kernels::cuda
