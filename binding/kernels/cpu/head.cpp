#include "kernels/head.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cpu/activation.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/head_operators.h"

namespace steadytune::kernels::cpu {
namespace {

struct Cpu {
  static constexpr auto bias_activation = cpu::bias_activation;
  static constexpr auto bias_activation_backward = cpu::bias_activation_backward;

  static void losses(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& loss,
                     const at::Tensor& grad_logits) {
    const int64_t rows = logits.size(0);
    const int64_t outputs = logits.size(1);
    const float* logit = logits.const_data_ptr<float>();
    const bool classes = labels.scalar_type() == at::kLong;
    const int64_t* label = classes ? labels.const_data_ptr<int64_t>() : nullptr;
    const float* score = classes ? nullptr : labels.const_data_ptr<float>();
    float* grad = grad_logits.mutable_data_ptr<float>();
    std::vector<double> of_rows(rows);
    at::parallel_for(0, rows, std::max<int64_t>(1, parallel_grain_elements / outputs), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t first = row * outputs;
        of_rows[row] = classes ? cross_entropy(logit + first, outputs, label[row], grad + first)
                               : squared_error(logit[row], score[row], grad + row);
      }
    });
    *loss.mutable_data_ptr<float>() = static_cast<float>(std::accumulate(of_rows.begin(), of_rows.end(), 0.0));
  }

  static void scale(const at::Tensor& grad_loss, const at::Tensor& grad_logits, const at::Tensor& scaled,
                    const at::Tensor& sums) {
    const int64_t outputs = grad_logits.size(1);
    const float* from = grad_logits.const_data_ptr<float>();
    float* to = scaled.mutable_data_ptr<float>();
    float* sum = sums.mutable_data_ptr<float>();
    for (int64_t i = 0; i < outputs; ++i) {
      sum[i] = scale_output(*grad_loss.const_data_ptr<float>(), from + i, grad_logits.size(0), outputs, to + i);
    }
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(steadytune, CPU, m) {
  m.impl("head_loss", head_loss<Cpu>);
  m.impl("head_loss_backward", head_loss_backward<Cpu>);
}

}  // namespace steadytune::kernels::cpu
