#pragma once

#include <vector>

namespace steadytune {

struct AdamwOptions {
  double learning_rate;
  double beta1;
  double beta2;
  double eps;
  bool bias_correction;
  double weight_decay;
};

/// The fused optimizer on one flat buffer without a model, so that `steadytune verify` can hold it against reference
/// values: the parameters after each of the given gradients. Throws ERR_INTERNAL when lengths differ.
std::vector<std::vector<float>> adamw_alone(const std::vector<float>& values,
                                            const std::vector<std::vector<float>>& gradients,
                                            const AdamwOptions& options);

}  // namespace steadytune
