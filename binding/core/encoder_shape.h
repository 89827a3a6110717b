#pragma once

#include <cstdint>
#include <optional>

#include "core/family.h"
#include "kernels/activation.h"

namespace steadytune {

enum class Problem { classification, regression };

/// BART's decoder, whose width and vocabulary are the encoder's.
struct DecoderShape {
  int64_t layers;
  int64_t heads;
  int64_t intermediate_size;
  /// The id that stands before a row's tokens in the decoder's input.
  int64_t start_id;
};

/// At least 0, and below 1 in the steps of 1/65536 in which masks are drawn.
bool is_probability(double p);

/// The shape of an encoder with its head: EncoderShape of src/native/types.ts.
struct EncoderShape {
  Family family;
  int64_t vocabulary_size;
  int64_t embedding_size;
  int64_t hidden_size;
  int64_t layers;
  int64_t heads;
  int64_t intermediate_size;
  std::optional<DecoderShape> decoder;
  int64_t max_positions;
  int64_t position_offset;
  int64_t segment_types;
  double embedding_scale;
  double layer_norm_eps;
  Activation activation;
  double hidden_dropout;
  double attention_dropout;
  double activation_dropout;
  double classifier_dropout;
  int64_t outputs;
  Problem problem;

  const FamilySwitches& switches() const { return switches_of(family); }

  /// Throws ERR_CONFIG with the key at fault.
  void check() const;
};

}  // namespace steadytune
