#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "core/error.h"
#include "dispatched_calls.h"
#include "expect.h"
#include "tiny_model.h"

// The promise: a stop at any point of a step ends it before it has changed anything, or is too late for it; and the
// session goes on as if the step had never been begun.

namespace {

using namespace steadytune;

struct Outcome {
  bool aborted;
  /// Operators that have run.
  int64_t operators;
};

/// Calls the work with a flag that is raised behind its `count`-th operator.
template <typename Work>
Outcome stop_behind(int64_t count, const Work& work) {
  std::atomic<bool> stop{count == 0};
  int64_t calls = 0;
  const DispatchedCalls watch([&](const at::RecordFunction&) {
    if (++calls == count) stop = true;
  });
  try {
    work(stop);
    return {false, calls};
  } catch (const Error& error) {
    EXPECT_EQUAL(error.code(), std::string("ERR_ABORTED"));
    return {true, calls};
  }
}

/// Stops the work in every way that makes a difference: at each of its checks, and, since stops behind the last one are
/// too late, at some points of the rest. Calls check(aborted, where) after each; returns how often it was aborted.
template <typename Work, typename Check>
int stop_everywhere(const Work& work, const Check& check) {
  const int64_t operators = stop_behind(-1, work).operators;
  check(false, "no stop");
  int stops = 0;
  int64_t count = 0;
  for (;; ++stops) {
    const Outcome outcome = stop_behind(count, work);
    check(outcome.aborted, "a stop behind operator " + std::to_string(count));
    if (!outcome.aborted) break;
    // A flag raised anywhere before that check is seen there.
    count = outcome.operators + 1;
  }
  for (const int64_t end = operators, rest = end - count; count <= end; count += std::max<int64_t>(1, rest / 7)) {
    const Outcome outcome = stop_behind(count, work);
    EXPECT(!outcome.aborted, "operator ", count, " of ", operators);
    check(false, "a stop behind operator " + std::to_string(count));
  }
  return stops;
}

}  // namespace

TEST("a step stopped at any of its checks has changed nothing, and done again has the bits of one undisturbed") {
  struct Setting {
    Family family;
    Form form;
    at::ScalarType dtype;
    /// In front of each block and of the head.
    int checks;
  };
  for (const auto& [family, form, dtype, checks] :
       {Setting{Family::bert, Form::fused, at::kFloat, 3}, Setting{Family::bert, Form::fused, at::kBFloat16, 3},
        Setting{Family::xlnet, Form::fused, at::kFloat, 3}, Setting{Family::bart, Form::fused, at::kFloat, 5},
        Setting{Family::bert, Form::reference, at::kFloat, 3}}) {
    const auto engine = tiny::engine(tiny::shape(family), form, dtype);
    std::vector<ParameterPlan> plan = tiny::plain_plan(*engine);
    for (ParameterPlan& entry : plan) entry.weight_decay = 0.1;
    engine->set_plan(plan, 0, false);
    engine->train({tiny::batch(engine->shape(), {3, 7}, 1)}, tiny::step(1), tiny::go).get();
    const tiny::State before(*engine);
    const auto put_back = [&] {
      const auto write = [&](ArenaBuffer buffer, const at::Tensor& values) {
        engine->write_buffer(buffer, values.const_data_ptr<float>(), static_cast<size_t>(values.numel()));
      };
      write(ArenaBuffer::parameters, before.values);
      write(ArenaBuffer::moment1, before.moment1);
      write(ArenaBuffer::moment2, before.moment2);
    };
    const std::vector<BatchRows> parts{tiny::batch(engine->shape(), {5, 1}, 2), tiny::batch(engine->shape(), {4}, 3)};
    const auto step = [&](const std::atomic<bool>& stop) { engine->train(parts, tiny::step(2), stop).get(); };
    step(tiny::go);
    const tiny::State after(*engine);
    EXPECT(!after.same_bits(before));
    put_back();
    const int stops = stop_everywhere(step, [&](bool aborted, const std::string& stop) {
      if (aborted) {
        EXPECT(tiny::State(*engine).same_bits(before), stop, " left something behind");
        step(tiny::go);
      }
      EXPECT(tiny::State(*engine).same_bits(after), "the step after ", stop, " differs");
      put_back();
    });
    EXPECT_EQUAL(stops, checks * static_cast<int>(parts.size()));
  }
}

TEST("an evaluation stopped at any of its checks gives no answer, and the next one is as ever") {
  for (const Form form : {Form::fused, Form::reference}) {
    const auto engine = tiny::engine(tiny::shape(Family::bert), form);
    const BatchRows batch = tiny::batch(engine->shape(), {5, 1, 9}, 1);
    at::Tensor logits;
    const auto evaluate = [&](const std::atomic<bool>& stop) {
      logits = engine->forward(batch, false, stop).get().logits;
    };
    evaluate(tiny::go);
    const at::Tensor expected = logits;
    const int stops = stop_everywhere(evaluate, [&](bool aborted, const std::string& stop) {
      if (aborted) evaluate(tiny::go);
      EXPECT(reference::same_bits(logits, expected), stop);
      logits = at::Tensor();
    });
    EXPECT_EQUAL(stops, 3);
  }
}
