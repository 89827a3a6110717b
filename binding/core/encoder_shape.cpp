#include "core/encoder_shape.h"

#include "core/error.h"

namespace steadytune {
namespace {

// Above these a product of two sizes could overflow, and no real encoder comes near.
constexpr int64_t largest_size = int64_t{1} << 24;
constexpr int64_t largest_layers = 1000;

void check_size(const char* key, int64_t value, int64_t largest) {
  if (value < 1 || value > largest) {
    throw Error("ERR_CONFIG", std::string("the model's ") + key + " is " + std::to_string(value) +
                                  ", but it must lie between 1 and " + std::to_string(largest));
  }
}

void check_probability(const char* key, double value) {
  if (!(value >= 0 && value < 1)) {
    throw Error("ERR_CONFIG", std::string("the model's ") + key + " is " + std::to_string(value) +
                                  ", but a dropout probability must be at least 0 and below 1");
  }
}

}  // namespace

void EncoderShape::check() const {
  check_size("vocabularySize", vocabulary_size, largest_size);
  check_size("hiddenSize", hidden_size, largest_size);
  check_size("layers", layers, largest_layers);
  check_size("heads", heads, hidden_size);
  check_size("intermediateSize", intermediate_size, largest_size);
  check_size("maxPositions", max_positions, largest_size);
  check_size("segmentTypes", segment_types, largest_size);
  check_size("outputs", outputs, largest_size);
  check_probability("hiddenDropout", hidden_dropout);
  check_probability("attentionDropout", attention_dropout);
  check_probability("classifierDropout", classifier_dropout);
  if (hidden_size % heads != 0) {
    throw Error("ERR_CONFIG", "the model's hiddenSize " + std::to_string(hidden_size) +
                                  " is not a multiple of its heads " + std::to_string(heads));
  }
  if (!(layer_norm_eps > 0)) {
    throw Error("ERR_CONFIG", "the model's layerNormEps must be above 0");
  }
}

}  // namespace steadytune
