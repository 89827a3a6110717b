#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace steadytune {

enum class Role { embedding, attention, ffn, layer_norm, pooler, classifier };
enum class Kind { weight, bias };

/// One named parameter: ParameterInfo of src/native/types.ts.
struct ParameterInfo {
  std::string name;
  std::vector<int64_t> shape;
  Role role;
  Kind kind;
  std::optional<int64_t> block;
  /// Lies right behind the one before it, so that both can be read as one matrix (query, key, value).
  bool joined = false;

  int64_t elements() const {
    int64_t product = 1;
    for (int64_t size : shape) product *= size;
    return product;
  }
};

/// How a parameter's values are drawn anew when a plan is set.
enum class Reset { none, ones, zeros, normal };

/// What a training run does with one parameter: ParameterPlan of src/native/types.ts.
struct ParameterPlan {
  bool frozen = false;
  double lr_scale = 1;
  double weight_decay = 0;
  bool decay_towards_start = false;
  bool decay_scaled_by_lr = true;
  Reset reset = Reset::none;
  double reset_std = 0;
  /// Random stream of a normal reset (binding/kernels/philox.h).
  int64_t reset_stream = 0;
};

}  // namespace steadytune
