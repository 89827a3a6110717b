#include "kernels/adamw.h"

#include <limits>

#include "core/operators.h"
#include "expect.h"
#include "reference.h"
#include "safetensors.h"

using reference::ints;
using reference::relative_error;
namespace operators = steadytune::operators;

namespace {

struct Settings {
  double lr = 1e-2;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  bool bias_correction = true;
  double max_grad_norm = 0.0;
};

struct Segment {
  int64_t begin;
  int64_t end;
  float lr_scale = 1.0f;
  float weight_decay = 0.0f;
  int32_t flags = 0;
};

struct Table {
  at::Tensor bounds;
  at::Tensor settings;
  at::Tensor flags;
};

Table table(const std::vector<Segment>& segments) {
  std::vector<int64_t> bounds;
  std::vector<float> settings;
  std::vector<int32_t> flags;
  for (const Segment& segment : segments) {
    bounds.insert(bounds.end(), {segment.begin, segment.end});
    settings.insert(settings.end(), {segment.lr_scale, segment.weight_decay});
    flags.push_back(segment.flags);
  }
  return {at::tensor(bounds, at::kLong).view({-1, 2}), at::tensor(settings, at::kFloat).view({-1, 2}), ints(flags)};
}

struct State {
  at::Tensor values;
  at::Tensor moment1;
  at::Tensor moment2;

  explicit State(const at::Tensor& start)
      : values(start.clone()), moment1(at::zeros_like(start)), moment2(at::zeros_like(start)) {}

  bool same_bits(const State& other) const {
    return reference::same_bits(values, other.values) && reference::same_bits(moment1, other.moment1) &&
           reference::same_bits(moment2, other.moment2);
  }
};

/// The operator on `state`; the norm is the one of the gradients.
void step(State& state, const at::Tensor& gradients, const std::vector<Segment>& segments, const Settings& settings,
          int64_t number, const std::optional<at::Tensor>& start = std::nullopt,
          const std::optional<at::Tensor>& compute = std::nullopt) {
  const Table segment_table = table(segments);
  const at::Tensor norm = operators::squared_norm(gradients, segment_table.bounds, segment_table.flags);
  operators::adamw_(state.values, gradients, state.moment1, state.moment2, start, segment_table.bounds,
                    segment_table.settings, segment_table.flags, norm, settings.lr, settings.beta1, settings.beta2,
                    settings.eps, settings.bias_correction, number, settings.max_grad_norm, compute);
}

/// The formulas of torch.optim.AdamW (and of BertAdam without bias correction) in float64, element by element.
void reference_step(State& state, const at::Tensor& gradients, const std::vector<Segment>& segments,
                    const Settings& settings, int64_t number, const at::Tensor& start) {
  auto value = state.values.accessor<double, 1>();
  auto first = state.moment1.accessor<double, 1>();
  auto second = state.moment2.accessor<double, 1>();
  const auto origin = start.accessor<double, 1>();
  const auto gradient = gradients.accessor<float, 1>();
  double squares = 0.0;
  for (const Segment& segment : segments) {
    for (int64_t i = segment.begin; i < segment.end && (segment.flags & steadytune::segment_frozen) == 0; ++i) {
      squares += static_cast<double>(gradient[i]) * gradient[i];
    }
  }
  const double clip =
      settings.max_grad_norm > 0 ? std::min(1.0, settings.max_grad_norm / (std::sqrt(squares) + 1e-6)) : 1.0;
  for (const Segment& segment : segments) {
    if ((segment.flags & steadytune::segment_frozen) != 0) {
      continue;
    }
    const double lr = settings.lr * segment.lr_scale;
    const bool unscaled = (segment.flags & steadytune::segment_decay_unscaled) != 0;
    const bool towards_start = (segment.flags & steadytune::segment_decay_towards_start) != 0;
    for (int64_t i = segment.begin; i < segment.end; ++i) {
      const double g = clip * gradient[i];
      value[i] -= (unscaled ? 1.0 : lr) * segment.weight_decay * (value[i] - (towards_start ? origin[i] : 0.0));
      first[i] = settings.beta1 * first[i] + (1.0 - settings.beta1) * g;
      second[i] = settings.beta2 * second[i] + (1.0 - settings.beta2) * g * g;
      if (settings.bias_correction) {
        const double correction1 = 1.0 - std::pow(settings.beta1, number);
        const double correction2 = 1.0 - std::pow(settings.beta2, number);
        value[i] -= lr / correction1 * first[i] / (std::sqrt(second[i]) / std::sqrt(correction2) + settings.eps);
      } else {
        value[i] -= lr * first[i] / (std::sqrt(second[i]) + settings.eps);
      }
    }
  }
}

/// Segments of every kind and awkward sizes, with gaps between them; 40000 crosses a chunk of the kernel.
const std::vector<Segment> awkward{
    {.begin = 0, .end = 1},
    {.begin = 64, .end = 64},
    {.begin = 64, .end = 79, .lr_scale = 0.25f, .weight_decay = 0.1f},
    {.begin = 128, .end = 161, .weight_decay = 0.1f, .flags = steadytune::segment_decay_towards_start},
    {.begin = 192, .end = 400, .weight_decay = 0.01f, .flags = steadytune::segment_decay_unscaled},
    {.begin = 448, .end = 500, .lr_scale = 0.0f, .weight_decay = 0.1f},
    {.begin = 512, .end = 900, .weight_decay = 0.1f, .flags = steadytune::segment_frozen},
    {.begin = 960,
     .end = 1100,
     .lr_scale = 0.5f,
     .weight_decay = 0.02f,
     .flags = steadytune::segment_decay_towards_start | steadytune::segment_decay_unscaled},
    {.begin = 1152, .end = 41152, .weight_decay = 0.01f},
};
constexpr int64_t awkward_elements = 41200;

}  // namespace

TEST("twelve steps equal torch.optim.AdamW and BertAdam (golden adamw.safetensors)") {
  const std::string path = STEADYTUNE_GOLDEN "/adamw.safetensors";
  const at::Tensor p0 = read_fixture(path, "p0").flatten();
  const at::Tensor grads = read_fixture(path, "grads").flatten(1);
  for (const bool bias_correction : {true, false}) {
    const at::Tensor expected = read_fixture(path, bias_correction ? "debiased" : "biased").flatten(1);
    State state(p0);
    for (int64_t t = 1; t <= 12; ++t) {
      step(state, grads[t - 1], {{.begin = 0, .end = 35, .weight_decay = 0.05f}},
           {.lr = 0.01, .bias_correction = bias_correction}, t);
      EXPECT_AT_MOST(relative_error(state.values, expected[t - 1]), 1e-6);
    }
  }
}

TEST("every kind of segment follows the formulas in float64") {
  const at::Tensor initial = reference::noise({awkward_elements}, 1);
  const at::Tensor start = reference::noise({awkward_elements}, 2);
  for (const bool bias_correction : {true, false}) {
    for (const double max_grad_norm : {0.0, 1.0, 1e6}) {
      const Settings settings{.lr = 1e-3, .bias_correction = bias_correction, .max_grad_norm = max_grad_norm};
      State state(initial);
      State exact(initial.to(at::kDouble));
      for (int64_t t = 1; t <= 5; ++t) {
        const at::Tensor gradients = reference::noise({awkward_elements}, 10 + t);
        step(state, gradients, awkward, settings, t, start);
        reference_step(exact, gradients, awkward, settings, t, start.to(at::kDouble));
      }
      for (const Segment& segment : awkward) {
        const auto part = [&](const at::Tensor& whole) { return whole.slice(0, segment.begin, segment.end); };
        if (segment.begin == segment.end) {
          continue;
        }
        EXPECT_AT_MOST(relative_error(part(state.values) - part(initial), part(exact.values) - part(initial)), 1e-4);
        EXPECT_AT_MOST(relative_error(part(state.values), part(exact.values)), 1e-6);
        EXPECT_AT_MOST(relative_error(part(state.moment1), part(exact.moment1)), 1e-6);
        EXPECT_AT_MOST(relative_error(part(state.moment2), part(exact.moment2)), 1e-6);
      }
    }
  }
}

TEST("frozen segments and the gaps between segments keep their bits") {
  const at::Tensor initial = reference::noise({awkward_elements}, 1);
  State state(initial);
  step(state, reference::noise({awkward_elements}, 2), awkward, {}, 1, reference::noise({awkward_elements}, 3));
  at::Tensor untouched = at::ones({awkward_elements}, at::kBool);
  for (const Segment& segment : awkward) {
    if ((segment.flags & steadytune::segment_frozen) == 0) {
      untouched.slice(0, segment.begin, segment.end).fill_(false);
    }
  }
  EXPECT(untouched.sum().item<int64_t>() > 400);
  EXPECT(at::equal(state.values.index({untouched}), initial.index({untouched})));
  EXPECT(!state.moment1.index({untouched}).any().item<bool>());
  EXPECT(!state.moment2.index({untouched}).any().item<bool>());
}

TEST("the step does not depend on the number of threads, bit for bit") {
  const at::Tensor initial = reference::noise({awkward_elements}, 1);
  const at::Tensor gradients = reference::noise({awkward_elements}, 2);
  const Settings settings{.max_grad_norm = 1.0};
  const auto run = [&](int threads) {
    const reference::Threads count(threads);
    State state(initial);
    for (int64_t t = 1; t <= 3; ++t) {
      step(state, gradients, awkward, settings, t, initial);
    }
    return state;
  };
  const State expected = run(1);
  for (const int threads : {2, 3, 8}) {
    EXPECT(run(threads).same_bits(expected), threads, " threads");
  }
}

TEST("a norm that is not finite changes nothing") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const State initial(reference::noise({100}, 1));
    State state = State(initial.values);
    at::Tensor gradients = reference::noise({100}, 2);
    gradients[57] = bad;
    step(state, gradients, {{.begin = 0, .end = 100, .weight_decay = 0.1f}}, {.max_grad_norm = 1.0}, 1);
    EXPECT(state.same_bits(initial));
    step(state, gradients, {{.begin = 0, .end = 100, .weight_decay = 0.1f}}, {.max_grad_norm = 0.0}, 1);
    EXPECT(state.same_bits(initial));
  }
}

TEST("a decay near the resolution of float32 acts as it should") {
  // In float32, 1 - 2e-7 is 1 - 1.8e-7 or 1 - 2.4e-7; the decay of three steps is 4.5e-7, or 7.5 units of 6e-8.
  State state(at::full({16}, 0.75f));
  for (int64_t t = 1; t <= 3; ++t) {
    step(state, at::zeros({16}), {{.begin = 0, .end = 16, .weight_decay = 0.01f}}, {.lr = 2e-5}, t);
  }
  EXPECT_AT_MOST(std::abs(0.75 - state.values[0].item<double>() - 4.5e-7), 1e-7);
}

TEST("clipping scales all gradients by one factor, as clip_grad_norm_ does") {
  const at::Tensor gradients = reference::noise({1000}, 1) * 3;
  const double norm = gradients.to(at::kDouble).norm().item<double>();
  State clipped(at::zeros({1000}));
  step(clipped, gradients, {{.begin = 0, .end = 1000}}, {.max_grad_norm = 1.0}, 1);
  EXPECT_AT_MOST(relative_error(clipped.moment1, gradients * (0.1 / (norm + 1e-6))), 1e-6);
  State free(at::zeros({1000}));
  step(free, gradients, {{.begin = 0, .end = 1000}}, {.max_grad_norm = 2 * norm}, 1);
  EXPECT_AT_MOST(relative_error(free.moment1, gradients * 0.1), 1e-6);
}

TEST("the compute copy is the new value rounded to bfloat16, and nothing else changes a bit") {
  const at::Tensor initial = reference::noise({awkward_elements}, 1);
  const at::Tensor start = reference::noise({awkward_elements}, 3);
  const Settings settings{.max_grad_norm = 1.0};
  State with_copy(initial);
  State without(initial);
  const at::Tensor compute = initial.to(at::kBFloat16);
  for (int64_t t = 1; t <= 3; ++t) {
    const at::Tensor gradients = reference::noise({awkward_elements}, 10 + t);
    step(with_copy, gradients, awkward, settings, t, start, compute);
    step(without, gradients, awkward, settings, t, start);
    EXPECT(with_copy.same_bits(without));
    EXPECT(reference::same_bits(compute, with_copy.values.to(at::kBFloat16)));
  }
}

TEST("where nothing changes the compute copy is not written") {
  const at::Tensor marks = at::full({awkward_elements}, 7.0, at::kBFloat16);
  const at::Tensor compute = marks.clone();
  State state(reference::noise({awkward_elements}, 1));
  at::Tensor gradients = reference::noise({awkward_elements}, 2);
  step(state, gradients, awkward, {}, 1, reference::noise({awkward_elements}, 3), compute);
  EXPECT_EQUAL(compute.slice(0, 512, 960).ne(7.0).sum().item<int64_t>(), 0);
  EXPECT_EQUAL(compute.slice(0, 41152).ne(7.0).sum().item<int64_t>(), 0);
  gradients[57] = std::numeric_limits<float>::infinity();
  const at::Tensor before = compute.clone();
  step(state, gradients, {{.begin = 0, .end = 100}}, {}, 2, std::nullopt, compute);
  EXPECT(reference::same_bits(compute, before));
}

TEST("the scheduled step is the plain one with numbers from memory, and stops for good where one is not finite") {
  const std::vector<Segment> segments{{0, 700}, {704, 1000, 0.5f, 0.01f}};
  const Table cut = table(segments);
  const Settings settings{.lr = 3e-3, .max_grad_norm = 1.0};
  const at::Tensor values = reference::noise({1000}, 21);
  const at::Tensor gradients = reference::noise({1000}, 22);
  const at::Tensor norm = operators::squared_norm(gradients, cut.bounds, cut.flags);
  const at::Tensor lr = at::scalar_tensor(settings.lr, at::kDouble);
  at::Tensor diverged_at = at::zeros({}, at::kLong);
  const auto scheduled = [&](State& state, int64_t number, double loss) {
    operators::adamw_scheduled_(
        state.values, gradients, state.moment1, state.moment2, std::nullopt, cut.bounds, cut.settings, cut.flags, norm,
        at::scalar_tensor(loss, at::kFloat), lr, at::tensor({number, int64_t{0}, int64_t{0}}, at::kLong), diverged_at,
        settings.beta1, settings.beta2, settings.eps, settings.bias_correction, settings.max_grad_norm, std::nullopt);
  };
  State actual(values);
  State expected(values);
  for (int64_t number = 1; number <= 3; ++number) {
    scheduled(actual, number, 0.7);
    step(expected, gradients, segments, settings, number);
    EXPECT(actual.same_bits(expected), "step ", number);
  }
  EXPECT_EQUAL(diverged_at.item<int64_t>(), 0);
  scheduled(actual, 4, std::numeric_limits<double>::infinity());
  EXPECT_EQUAL(diverged_at.item<int64_t>(), 4);
  scheduled(actual, 5, 0.7);
  EXPECT_EQUAL(diverged_at.item<int64_t>(), 4);
  EXPECT(actual.same_bits(expected));
}

TEST("no segments is no work") {
  State state(at::ones({4}));
  const State initial(at::ones({4}));
  const at::Tensor bounds = at::empty({0, 2}, at::kLong);
  const at::Tensor flags = at::empty({0}, at::kInt);
  operators::adamw_(state.values, at::ones({4}), state.moment1, state.moment2, std::nullopt, bounds, at::empty({0, 2}),
                    flags, operators::squared_norm(at::ones({4}), bounds, flags), 1.0, 0.9, 0.999, 1e-8, true, 1, 0.0,
                    std::nullopt);
  EXPECT(state.same_bits(initial));
}

TEST("squared_norm sums in float64, leaves frozen segments out, and does not depend on threads") {
  const at::Tensor gradients = reference::noise({awkward_elements}, 1);
  const Table segments = table(awkward);
  double expected = 0.0;
  for (const Segment& segment : awkward) {
    if ((segment.flags & steadytune::segment_frozen) == 0) {
      expected += gradients.slice(0, segment.begin, segment.end).to(at::kDouble).square().sum().item<double>();
    }
  }
  const reference::Threads one(1);
  const at::Tensor norm = operators::squared_norm(gradients, segments.bounds, segments.flags);
  EXPECT(norm.dim() == 0 && norm.scalar_type() == at::kDouble);
  EXPECT_AT_MOST(std::abs(norm.item<double>() / expected - 1.0), 1e-13);
  for (const int threads : {2, 5}) {
    const reference::Threads many(threads);
    EXPECT(reference::same_bits(operators::squared_norm(gradients, segments.bounds, segments.flags), norm));
  }
}

TEST("squared_norm neither overflows nor loses small gradients") {
  const Table segments = table({{.begin = 0, .end = 1001}});
  const at::Tensor huge = at::full({1001}, 1e30f);
  EXPECT_AT_MOST(std::abs(operators::squared_norm(huge, segments.bounds, segments.flags).item<double>() / 1.001e63 - 1),
                 1e-6);
  const at::Tensor tiny = at::full({1001}, 1e-30f);
  EXPECT_AT_MOST(
      std::abs(operators::squared_norm(tiny, segments.bounds, segments.flags).item<double>() / 1.001e-57 - 1), 1e-6);
}

TEST("segment_squared_distance gives one sum per segment, zero for an empty one") {
  const at::Tensor values = reference::noise({awkward_elements}, 1);
  const at::Tensor start = reference::noise({awkward_elements}, 2);
  const at::Tensor distances = operators::segment_squared_distance(values, start, table(awkward).bounds);
  EXPECT(distances.scalar_type() == at::kDouble);
  EXPECT_EQUAL(distances.numel(), static_cast<int64_t>(awkward.size()));
  for (size_t i = 0; i < awkward.size(); ++i) {
    const auto part = [&](const at::Tensor& whole) {
      return whole.slice(0, awkward[i].begin, awkward[i].end).to(at::kDouble);
    };
    const double expected = (part(values) - part(start)).square().sum().item<double>();
    EXPECT_AT_MOST(std::abs(distances[i].item<double>() - expected), 1e-13 * expected);
  }
}

TEST("bad arguments of the arena's operators are refused by name") {
  State state(at::ones({8}));
  const at::Tensor gradients = at::ones({8});
  EXPECT_THROWS(step(state, at::ones({7}), {{.begin = 0, .end = 7}}, {}, 1), "gradients has 7 elements, the others 8");
  EXPECT_THROWS(step(state, gradients, {{.begin = 0, .end = 9}}, {}, 1), "outside the buffer of 8 elements");
  EXPECT_THROWS(step(state, gradients, {{.begin = 5, .end = 4}}, {}, 1), "segment 0 is 5 .. 4");
  EXPECT_THROWS(step(state, gradients, {{.begin = 0, .end = 8}}, {}, 0), "step = 0");
  EXPECT_THROWS(step(state, gradients, {{.begin = 0, .end = 8}}, {.beta2 = 1.0}, 1), "betas");
  EXPECT_THROWS(
      step(state, gradients,
           {{.begin = 0, .end = 8, .weight_decay = 0.1f, .flags = steadytune::segment_decay_towards_start}}, {}, 1),
      "no start values were given");
  EXPECT_THROWS(step(state, gradients.to(at::kDouble), {{.begin = 0, .end = 8}}, {}, 1), "gradients must be Float");
  EXPECT_THROWS(step(state, gradients, {{.begin = 0, .end = 8}}, {}, 1, std::nullopt, at::ones({8})),
                "compute must be BFloat16");
  EXPECT_THROWS(step(state, gradients, {{.begin = 0, .end = 8}}, {}, 1, std::nullopt, at::ones({7}, at::kBFloat16)),
                "compute has 7 elements, the others 8");
  const Table segments = table({{.begin = 0, .end = 8}});
  EXPECT_THROWS(operators::squared_norm(gradients, segments.bounds, ints({0, 0})), "1 segments have 2 flags");
  EXPECT_THROWS(operators::segment_squared_distance(gradients, at::ones({9}), segments.bounds), "start has 9 elements");
}
