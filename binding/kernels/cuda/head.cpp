#include <torch/library.h>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/operators.h"
#include "kernels/head_operators.h"

namespace steadytune::kernels::cuda {
namespace {

struct Cuda {
  static constexpr auto bias_activation = bias_activation_operator;
  static constexpr auto bias_activation_backward = bias_activation_backward_operator;

  static void losses(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& loss,
                     const at::Tensor& grad_logits) {
    const OnDevice device("head_loss", logits);
    const bool classes = labels.scalar_type() == at::kLong;
    device.check(head_losses(device.stream(), {
                                                  .logits = logits.const_data_ptr<float>(),
                                                  .classes = classes ? labels.const_data_ptr<int64_t>() : nullptr,
                                                  .scores = classes ? nullptr : labels.const_data_ptr<float>(),
                                                  .rows = logits.size(0),
                                                  .outputs = logits.size(1),
                                                  .loss = loss.mutable_data_ptr<float>(),
                                                  .grad_logits = grad_logits.mutable_data_ptr<float>(),
                                              }));
  }

  static void scale(const at::Tensor& grad_loss, const at::Tensor& grad_logits, const at::Tensor& scaled,
                    const at::Tensor& sums) {
    const OnDevice device("head_loss_backward", grad_logits);
    device.check(head_scale(device.stream(), grad_loss.const_data_ptr<float>(), grad_logits.const_data_ptr<float>(),
                            grad_logits.size(0), grad_logits.size(1), scaled.mutable_data_ptr<float>(),
                            sums.mutable_data_ptr<float>()));
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CUDA, m) {
  m.impl("head_loss", head_loss<Cuda>);
  m.impl("head_loss_backward", head_loss_backward<Cuda>);
}

}  // namespace steadytune::kernels::cuda
