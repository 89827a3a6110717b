#include "core/error.h"
#include "expect.h"
#include "tiny_model.h"

// The engine as a whole, on shapes where a vector's tail, a row of one token or a word never seen is the rule.

namespace {

using namespace steadytune;

size_t index_of(const Engine& engine, const std::string& name) {
  for (size_t i = 0; i < engine.parameters().size(); ++i) {
    if (engine.parameters()[i].name == name) return i;
  }
  throw std::runtime_error("no parameter " + name);
}

const char* const words = "embeddings.word.weight";

/// Words decay towards the start.
std::vector<ParameterPlan> decay_of_words(const Engine& engine) {
  std::vector<ParameterPlan> plan = tiny::plain_plan(engine);
  plan[index_of(engine, words)].weight_decay = 0.5;
  plan[index_of(engine, words)].decay_towards_start = true;
  return plan;
}

std::unique_ptr<Engine> decaying(const EncoderShape& shape) {
  auto engine = tiny::engine(shape, Form::fused);
  engine->set_plan(decay_of_words(*engine), 0, true);
  return engine;
}

BatchRows three_words() {
  BatchRows rows{
      .token_ids = {0, 1, 2}, .segment_ids = {0, 0, 0}, .row_offsets = {0, 3}, .row_numbers = {0}, .labels = {}};
  rows.labels = std::vector<int32_t>{1};
  return rows;
}

/// Words that no batch held stood at `moved`, while the start is `start`: one step pulls them by lr * lambda.
void expect_pulled(Engine& engine, const at::Tensor& start, const at::Tensor& moved) {
  engine.train({three_words()}, tiny::step(1), tiny::go).get();
  const at::Tensor unseen = engine.read_parameter(words).slice(0, 3);
  const at::Tensor expected = (moved - 1e-2 * 0.5 * (moved - start)).slice(0, 3);
  EXPECT_AT_MOST(reference::relative_error(unseen, expected), 1e-6);
}

}  // namespace

TEST("every family trains, evaluates, snapshots and restores in both forms and dtypes, rows of one token included") {
  for (const Family family : tiny::families()) {
    for (const Form form : {Form::fused, Form::reference}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
        for (const Problem problem : {Problem::classification, Problem::regression}) {
          const EncoderShape shape = tiny::shape(family, problem);
          const auto engine = tiny::engine(shape, form, dtype);
          engine->snapshot("start");
          const tiny::State before(*engine);
          const std::vector<std::vector<int32_t>> batches{{1}, {37}, {1, 36, 1}, {9, 9, 9, 9, 9}};
          int32_t number = 0;
          for (const auto& lengths : batches) {
            const BatchRows batch = tiny::batch(shape, lengths, ++number);
            EXPECT(engine->train({batch, batch}, tiny::step(number), tiny::go).get().finite);
            const ForwardResult result = engine->forward(batch, true, tiny::go).get();
            EXPECT(result.logits.isfinite().all().item<bool>());
            EXPECT_EQUAL(result.hidden_states->size(1), static_cast<int64_t>(batch.token_ids.size()));
            // What is computed for the summary tokens alone is what it is among all of them.
            const at::Tensor alone = engine->forward(batch, false, tiny::go).get().logits;
            EXPECT_AT_MOST(reference::relative_error(alone, result.logits), dtype == at::kFloat ? 1e-5 : 3e-2);
          }
          engine->restore("start");
          EXPECT(reference::same_bits(tiny::State(*engine).values, before.values));
        }
      }
    }
  }
}

TEST("a restored snapshot that lies away from the start is pulled there, unseen words too") {
  const EncoderShape shape = tiny::shape(Family::bert);
  const auto engine = decaying(shape);
  const at::Tensor start = engine->read_parameter(words);
  const at::Tensor moved = start + 1;
  tiny::load(*engine, words, moved);
  engine->snapshot("moved");
  tiny::load(*engine, words, start);
  engine->set_plan(decay_of_words(*engine), 0, true);
  engine->restore("moved");
  expect_pulled(*engine, start, moved);
}

TEST("weights loaded behind the plan are pulled to the start, unseen words too") {
  const EncoderShape shape = tiny::shape(Family::bert);
  const auto engine = decaying(shape);
  const at::Tensor start = engine->read_parameter(words);
  const at::Tensor moved = start - 1;
  tiny::load(*engine, words, moved);
  expect_pulled(*engine, start, moved);
}
