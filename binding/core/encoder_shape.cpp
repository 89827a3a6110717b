#include "core/encoder_shape.h"

#include <cmath>
#include <string>

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
  if (!is_probability(value)) {
    throw Error("ERR_CONFIG", std::string("the model's ") + key + " is " + std::to_string(value) +
                                  ", but a dropout probability must be at least 0 and below 1");
  }
}

void check_heads(const char* what, int64_t heads, int64_t hidden_size) {
  check_size(what, heads, hidden_size);
  if (hidden_size % heads != 0) {
    throw Error("ERR_CONFIG", "the model's hiddenSize " + std::to_string(hidden_size) + " is not a multiple of its " +
                                  what + " " + std::to_string(heads));
  }
}

}  // namespace

bool is_probability(double p) { return p >= 0 && p < 1 && std::lround(p * 65536) < 65536; }

void EncoderShape::check() const {
  check_size("vocabularySize", vocabulary_size, largest_size);
  check_size("embeddingSize", embedding_size, largest_size);
  check_size("hiddenSize", hidden_size, largest_size);
  check_size("layers", layers, largest_layers);
  check_heads("heads", heads, hidden_size);
  check_size("intermediateSize", intermediate_size, largest_size);
  check_size("maxPositions", max_positions, largest_size);
  check_size("outputs", outputs, largest_size);
  if (segment_types != 0) check_size("segmentTypes", segment_types, largest_size);
  if (position_offset != 0) check_size("positionOffset", position_offset, largest_size);
  check_probability("hiddenDropout", hidden_dropout);
  check_probability("attentionDropout", attention_dropout);
  check_probability("activationDropout", activation_dropout);
  check_probability("classifierDropout", classifier_dropout);
  if ((family == Family::bart) != decoder.has_value()) {
    throw Error("ERR_CONFIG", std::string("the model's decoder and its family ") + switches().name + " do not fit");
  }
  if (decoder) {
    check_size("decoder.layers", decoder->layers, largest_layers);
    check_heads("decoder.heads", decoder->heads, hidden_size);
    check_size("decoder.intermediateSize", decoder->intermediate_size, largest_size);
    if (decoder->start_id < 0 || decoder->start_id >= vocabulary_size) {
      throw Error("ERR_CONFIG", "the model's decoder.startId is " + std::to_string(decoder->start_id) +
                                    ", which is no word of its vocabulary");
    }
  }
  if (!(layer_norm_eps > 0)) {
    throw Error("ERR_CONFIG", "the model's layerNormEps must be above 0");
  }
  if (!(embedding_scale > 0)) {
    throw Error("ERR_CONFIG", "the model's embeddingScale must be above 0");
  }
}

}  // namespace steadytune
