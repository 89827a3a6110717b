#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/engine.h"
#include "reference.h"

/// Whole models that are small and of odd sizes, for tests of the engine.
namespace tiny {

using steadytune::BatchRows;
using steadytune::EncoderShape;
using steadytune::Engine;
using steadytune::Family;
using steadytune::Form;
using steadytune::ParameterPlan;
using steadytune::Problem;
using steadytune::StepOptions;

/// Never raised.
inline const std::atomic<bool> go{false};

inline const std::vector<Family>& families() {
  static const std::vector<Family> all{Family::bert,       Family::roberta, Family::electra,
                                       Family::distilbert, Family::xlnet,   Family::bart};
  return all;
}

/// Heads of 5 columns, and no other size a multiple of a vector's width either.
inline EncoderShape shape(Family family, Problem problem = Problem::classification) {
  const bool segments = family == Family::bert || family == Family::electra;
  EncoderShape shape{
      .family = family,
      .vocabulary_size = 31,
      .embedding_size = family == Family::electra ? 12 : 20,
      .hidden_size = 20,
      .layers = 2,
      .heads = 4,
      .intermediate_size = 27,
      .decoder = std::nullopt,
      .max_positions = 37,
      .position_offset = family == Family::roberta || family == Family::bart ? 2 : 0,
      .segment_types = segments ? 2 : 0,
      .embedding_scale = 1,
      .layer_norm_eps = 1e-12,
      .activation = steadytune::Activation::gelu,
      .hidden_dropout = 0.1,
      .attention_dropout = 0.1,
      .activation_dropout = family == Family::xlnet || family == Family::bart ? 0.1 : 0,
      .classifier_dropout = 0.1,
      .outputs = problem == Problem::regression ? 1 : 3,
      .problem = problem,
  };
  if (family == Family::bart) {
    shape.decoder = steadytune::DecoderShape{.layers = 2, .heads = 2, .intermediate_size = 13, .start_id = 2};
  }
  return shape;
}

/// Rows of these lengths; `seed` chooses words, labels and row numbers.
inline BatchRows batch(const EncoderShape& shape, const std::vector<int32_t>& lengths, int32_t seed) {
  BatchRows rows;
  rows.row_offsets = reference::offsets(lengths);
  const int32_t tokens = rows.row_offsets.back();
  for (int32_t token = 0; token < tokens; ++token) {
    rows.token_ids.push_back((token * 7 + seed * 5) % static_cast<int32_t>(shape.vocabulary_size));
    rows.segment_ids.push_back(shape.segment_types > 1 ? token % 2 : 0);
  }
  std::vector<int32_t> classes;
  std::vector<float> targets;
  for (int32_t row = 0; row < static_cast<int32_t>(lengths.size()); ++row) {
    rows.row_numbers.push_back(row * 11 + seed);
    classes.push_back((row + seed) % static_cast<int32_t>(shape.outputs));
    targets.push_back(0.5f * static_cast<float>(row) - 0.7f);
  }
  if (shape.problem == Problem::regression) {
    rows.labels = targets;
  } else {
    rows.labels = classes;
  }
  return rows;
}

/// Values of one parameter, float32: large enough that every part of the model matters, LayerNorm weights around 1.
inline at::Tensor initial_value(const steadytune::ParameterInfo& parameter, int64_t seed) {
  const at::Tensor noise = reference::noise(parameter.shape, seed);
  const bool scale = parameter.role == steadytune::Role::layer_norm && parameter.kind == steadytune::Kind::weight;
  return scale ? 1 + 0.2 * noise : 0.4 * noise;
}

inline void load(Engine& engine, const std::string& name, const at::Tensor& values) {
  engine.load(name, {at::kFloat, values.const_data_ptr(), values.nbytes()});
}

inline std::vector<ParameterPlan> plain_plan(const Engine& engine) {
  return std::vector<ParameterPlan>(engine.parameters().size());
}

/// A model with weights and a plan that trains all of them.
inline std::unique_ptr<Engine> engine(const EncoderShape& shape, Form form, at::ScalarType dtype = at::kFloat) {
  auto made = std::make_unique<Engine>(shape, dtype, form);
  int64_t seed = 100;
  for (const auto& parameter : made->parameters()) load(*made, parameter.name, initial_value(parameter, ++seed));
  made->set_plan(plain_plan(*made), 0, false);
  return made;
}

inline StepOptions step(int64_t number) {
  return {.step = number,
          .learning_rate = 1e-2,
          .betas = {0.9, 0.999},
          .eps = 1e-8,
          .bias_correction = true,
          .max_grad_norm = 1,
          .order_seed = 3,
          .dropout = true};
}

/// Everything that training leaves behind.
struct State {
  at::Tensor values;
  at::Tensor moment1;
  at::Tensor moment2;
  at::Tensor start;

  explicit State(const Engine& engine)
      : values(engine.read_buffer(steadytune::ArenaBuffer::parameters)),
        moment1(engine.read_buffer(steadytune::ArenaBuffer::moment1)),
        moment2(engine.read_buffer(steadytune::ArenaBuffer::moment2)),
        start(engine.read_buffer(steadytune::ArenaBuffer::start)) {}

  bool same_bits(const State& other) const {
    return reference::same_bits(values, other.values) && reference::same_bits(moment1, other.moment1) &&
           reference::same_bits(moment2, other.moment2) && reference::same_bits(start, other.start);
  }
};

inline const char* name_of(Form form) { return form == Form::fused ? "fused" : "reference"; }

}  // namespace tiny
