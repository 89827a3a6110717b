#pragma once

#include <cstdint>
#include <string>

#include "kernels/activation.h"

namespace steadytune {

enum class Problem { classification, regression };

/// The shape of an encoder with its head: EncoderShape of src/native/types.ts.
struct EncoderShape {
  int64_t vocabulary_size;
  int64_t hidden_size;
  int64_t layers;
  int64_t heads;
  int64_t intermediate_size;
  int64_t max_positions;
  int64_t segment_types;
  double layer_norm_eps;
  Activation activation;
  double hidden_dropout;
  double attention_dropout;
  double classifier_dropout;
  int64_t outputs;
  Problem problem;

  /// Throws ERR_CONFIG with the key at fault.
  void check() const;
};

}  // namespace steadytune
