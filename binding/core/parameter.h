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

/// Where a parameter's own random numbers (Re-init, mixout) come from: layer 0 outside the blocks, else block + 1, and
/// its ordinal among the parameters there.
struct RandomPlace {
  int64_t layer;
  int64_t site;
};

inline RandomPlace random_place(const std::vector<ParameterInfo>& parameters, size_t index) {
  const std::optional<int64_t>& block = parameters[index].block;
  RandomPlace place{block ? *block + 1 : 0, 0};
  for (size_t i = 0; i < index; ++i) place.site += parameters[i].block == block ? 1 : 0;
  return place;
}

/// A mask, drawn for every forward pass of training, puts start values in the place of a weight's own
/// (kernels/mixout.h).
struct Mixout {
  /// Share of the values that the start stands in for, 0 <= p < 1.
  double p;
  /// One mask over the input features, the same for every output, instead of one per element.
  bool column;
  /// False leaves the 1 / (1 - p) out of the gradient, as the paper's released code does.
  bool exact_gradient;

  bool operator==(const Mixout&) const = default;
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
  std::optional<Mixout> mixout;

  bool operator==(const ParameterPlan&) const = default;
};

}  // namespace steadytune
