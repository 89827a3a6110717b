#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dispatched_calls.h"
#include "expect.h"
#include "tiny_model.h"

// The promise: a number that is not finite, wherever it comes from, never reaches the weights: the step that meets it
// says so, from which the session makes a run that diverged at that step, and changes nothing.

namespace {

using namespace steadytune;

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

const void* memory_of(const at::Tensor& tensor) { return tensor.storage().data(); }

bool is_update(const at::RecordFunction& function) {
  return std::string_view(function.name()) == "steadytune::adamw_scheduled_";
}

/// Where the weights and what goes with them lie: what the last operator of a step works on.
std::set<const void*> memory_of_weights(const std::function<void()>& step) {
  std::set<const void*> found;
  const auto begun = [&](const at::RecordFunction& function) {
    if (!is_update(function)) return;
    const auto inputs = function.inputs();
    // values, moment1, moment2, start and compute; the last two may be missing.
    for (const size_t argument : {size_t{0}, size_t{2}, size_t{3}, size_t{4}, inputs.size() - 1}) {
      const at::Tensor buffer = inputs[argument].isTensor() ? inputs[argument].toTensor() : at::Tensor();
      if (buffer.defined()) found.insert(memory_of(buffer));
    }
  };
  const DispatchedCalls watch(begun, [](const at::RecordFunction&) {});
  step();
  return found;
}

/// Runs a step in which all numbers that the `target`-th computing operator has computed become `poison`. Returns its
/// name; empty where there are not so many. All its results at once: the logits of a head are not read where its loss
/// is.
std::string poison_result(int64_t target, float poison, const std::set<const void*>& weights,
                          const std::function<void()>& step) {
  std::string poisoned;
  int64_t operators = 0;
  bool updated = false;
  // Of the calls that have not returned: where their arguments lie.
  std::vector<std::set<const void*>> given;
  const auto begun = [&](const at::RecordFunction& function) {
    updated = updated || is_update(function);
    std::set<const void*>& memories = given.emplace_back();
    for (const c10::IValue& value : function.inputs()) {
      const at::Tensor tensor = value.isTensor() ? value.toTensor() : at::Tensor();
      if (tensor.defined()) memories.insert(memory_of(tensor));
    }
  };
  const auto returned = [&](const at::RecordFunction& function) {
    const std::set<const void*> memories = std::move(given.back());
    given.pop_back();
    // Inside another operator: what that makes of it is its own affair, and its results have their turn.
    if (updated || !given.empty()) return;
    const std::string_view name = function.name();
    // What is yet to be written, and what autograd hands on as the gradient of a result that nobody has used.
    if (name.starts_with("aten::empty") || name == "aten::resize_" || name == "aten::zeros") return;
    const bool in_place = name.ends_with("_") || function.operator_name()->overload_name == "out";
    std::vector<at::Tensor> results;
    for (const c10::IValue& value : function.outputs()) {
      const at::Tensor result = value.isTensor() ? value.toTensor().variable_data() : at::Tensor();
      if (!result.defined() || !result.is_floating_point() || result.numel() == 0) continue;
      const void* memory = memory_of(result);
      const bool view = !in_place && memories.count(memory) > 0;
      if (!view && weights.count(memory) == 0) results.push_back(result);
    }
    if (results.empty() || operators++ != target) return;
    for (at::Tensor& result : results) result.fill_(poison);
    poisoned = name;
  };
  const DispatchedCalls watch(begun, returned);
  step();
  return poisoned;
}

/// With one block of each kind.
EncoderShape small(Family family) {
  EncoderShape shape = tiny::shape(family);
  shape.layers = 1;
  if (shape.decoder) shape.decoder->layers = 1;
  return shape;
}

/// Poisons the results of every operator of a step in turn. Returns the operators whose NaN or infinity the step has
/// met.
std::set<std::string> poison_everything(const EncoderShape& shape, Form form, at::ScalarType dtype,
                                        const std::vector<float>& poisons) {
  const auto engine = tiny::engine(shape, form, dtype);
  const std::vector<BatchRows> batch{tiny::batch(shape, {3, 1}, 1)};
  StepResult result{};
  const auto step = [&] { result = engine->train(batch, tiny::step(2), tiny::go).get(); };
  engine->snapshot("start");
  const auto begin_anew = [&] {
    engine->set_plan(tiny::plain_plan(*engine), 0, false);
    engine->restore("start");
  };
  const std::set<const void*> weights = memory_of_weights(step);
  EXPECT(result.finite && weights.size() >= 3);
  begin_anew();
  const tiny::State before(*engine);
  std::set<std::string> met;
  for (const float poison : poisons) {
    begin_anew();
    for (int64_t target = 0;; ++target) {
      const std::string name = poison_result(target, poison, weights, step);
      if (name.empty()) break;
      const tiny::State after(*engine);
      const auto where = [&](const char* what) {
        return std::string(what) + ": " + std::to_string(poison) + " from " + name + ", operator " +
               std::to_string(target) + " of " + shape.switches().name + " " + tiny::name_of(form);
      };
      if (!result.finite) {
        EXPECT(after.same_bits(before), where("a step that diverged has changed something"));
        met.insert(name);
        continue;
      }
      // Infinity may be what a function has a limit for, such as tanh; NaN never.
      EXPECT(!std::isnan(poison), where("went unseen"));
      EXPECT(after.values.isfinite().all().item<bool>() && after.moment2.isfinite().all().item<bool>(),
             where("reached the weights"));
      begin_anew();
    }
  }
  return met;
}

}  // namespace

TEST("NaN and infinity from any operator of a step end it as diverged or never reach a weight") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const std::set<std::string> met =
        poison_everything(tiny::shape(Family::bert), Form::fused, dtype, {not_a_number, infinity});
    for (const char* name :
         {"embed", "packed_attention", "summary_attention", "bias_activation", "dropout_add_norm", "head_loss"}) {
      EXPECT(met.count(std::string("steadytune::") + name) == 1, name);
      EXPECT(met.count(std::string("steadytune::") + name + "_backward") == 1, name);
    }
    EXPECT(met.count("aten::mm") == 1 && met.count("steadytune::squared_norm") == 1);
  }
  EXPECT(poison_everything(small(Family::bert), Form::reference, at::kFloat, {not_a_number})
             .count("steadytune::dropout") == 1);
  for (const Family family : {Family::roberta, Family::electra, Family::distilbert, Family::xlnet, Family::bart}) {
    EXPECT(!poison_everything(small(family), Form::fused, at::kFloat, {not_a_number}).empty());
  }
}

TEST("NaN or infinity in any parameter ends a step as diverged, and the step changes nothing") {
  for (const Family family : tiny::families()) {
    for (const Form form : {Form::fused, Form::reference}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
        const EncoderShape shape = tiny::shape(family);
        const auto engine = tiny::engine(shape, form, dtype);
        const std::vector<BatchRows> batch{tiny::batch(shape, {3, 1}, 1)};
        float poison = infinity;
        for (const ParameterInfo& parameter : engine->parameters()) {
          // Kept for the checkpoint alone.
          if (parameter.name == "embeddings.mask.weight") continue;
          // By turns; but tanh has a limit, and so has the gradient of a ReLU.
          const bool bounded = parameter.name == "pooler.bias" || parameter.name == "classifier.dense.bias";
          poison = std::isinf(poison) || bounded ? not_a_number : infinity;
          const at::Tensor good = engine->read_parameter(parameter.name);
          tiny::load(*engine, parameter.name, at::full_like(good, poison));
          const tiny::State before(*engine);
          const StepResult result = engine->train(batch, tiny::step(2), tiny::go).get();
          const std::string where = std::string(switches_of(family).name) + " " + tiny::name_of(form) + " " +
                                    parameter.name + " = " + std::to_string(poison);
          EXPECT(!result.finite, where);
          EXPECT(tiny::State(*engine).same_bits(before), where);
          tiny::load(*engine, parameter.name, good);
        }
        EXPECT(engine->train(batch, tiny::step(2), tiny::go).get().finite);
      }
    }
  }
}
