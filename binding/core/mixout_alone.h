#pragma once

#include <cstdint>
#include <vector>

#include "core/parameter.h"

namespace steadytune {

/// y = x W'^T + b over some tokens, with W' mixed under a given mask. Matrices are row by row.
struct MixedLinear {
  int64_t inputs;
  int64_t outputs;
  std::vector<float> x;       // [tokens, inputs]
  std::vector<float> weight;  // [outputs, inputs]
  std::vector<float> target;  // [outputs, inputs]
  std::vector<float> bias;    // [outputs]
  /// 1 where the target stands in: [outputs, inputs], or [inputs] per column.
  std::vector<float> mask;
  std::vector<float> grad_output;  // [tokens, outputs]
};

struct MixedLinearResult {
  std::vector<float> output;
  std::vector<float> grad_x;
  std::vector<float> grad_weight;
  std::vector<float> grad_bias;
};

/// The fused mixout on one layer without a model, so that `steadytune verify` can hold it against reference values.
/// Throws ERR_INTERNAL when lengths do not fit.
MixedLinearResult mixout_alone(const MixedLinear& layer, const Mixout& mixout);

}  // namespace steadytune
