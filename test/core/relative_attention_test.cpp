#include "core/operators.h"
#include "expect.h"
#include "reference.h"

using reference::Dropout;
using reference::ints;
using reference::relative_error;
using steadytune::Site;
namespace operators = steadytune::operators;

namespace {

constexpr auto site = Site::attention_probabilities;

/// Rows of which all tokens ask, or the last alone.
struct Batch {
  std::vector<int32_t> lengths;
  int64_t heads;
  int64_t head_size;
  bool last_alone = false;

  int64_t rows() const { return static_cast<int64_t>(lengths.size()); }
  int64_t hidden() const { return heads * head_size; }
  int64_t tokens() const { return reference::offsets(lengths).back(); }
  int64_t queries() const { return last_alone ? rows() : tokens(); }
  std::vector<int32_t> asking() const { return last_alone ? std::vector<int32_t>(lengths.size(), 1) : lengths; }
  std::vector<int32_t> numbers() const {
    std::vector<int32_t> result;
    for (size_t row = 0; row < lengths.size(); ++row) result.push_back(static_cast<int32_t>(300 + 57 * row));
    return result;
  }
  std::vector<int32_t> positions() const {
    std::vector<int32_t> result;
    for (const int32_t length : lengths) result.push_back(last_alone ? length - 1 : 0);
    return result;
  }
};

struct Inputs {
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
  at::Tensor relative;
  at::Tensor vectors;
  at::Tensor segment_ids;

  Inputs(const Batch& batch, at::ScalarType dtype)
      : query((reference::noise({batch.queries(), batch.hidden()}, 1) * 2).to(dtype)),
        key((reference::noise({batch.tokens(), batch.hidden()}, 2) * 2).to(dtype)),
        value((reference::noise({batch.tokens(), batch.hidden()}, 3) * 2).to(dtype)),
        relative((reference::noise({batch.tokens() + batch.queries(), batch.hidden()}, 4) * 2).to(dtype)),
        vectors(reference::noise({5, batch.hidden()}, 5)),
        segment_ids((at::arange(batch.tokens(), at::kInt) / 3 % 3).to(at::kInt)) {}
};

struct Results {
  at::Tensor output;
  std::vector<at::Tensor> grads;
};

Results apply(const Batch& batch, const Inputs& in, const at::Tensor& weights, const Dropout& dropout) {
  const at::Tensor offsets = ints(reference::offsets(batch.lengths));
  const at::Tensor query_offsets = ints(reference::offsets(batch.asking()));
  const at::Tensor numbers = ints(batch.numbers());
  const at::Tensor positions = ints(batch.positions());
  const auto [output, logsumexp] = operators::relative_attention(
      in.query, in.key, in.value, in.relative, in.vectors, in.segment_ids, query_offsets, positions, offsets, numbers,
      batch.heads, dropout.p, dropout.seed, dropout.layer, static_cast<int64_t>(site), dropout.step);
  const auto [query, key, value, relative, vectors] = operators::relative_attention_backward(
      weights, in.query, in.key, in.value, in.relative, in.vectors, logsumexp, in.segment_ids, query_offsets, positions,
      offsets, numbers, batch.heads, dropout.p, dropout.seed, dropout.layer, static_cast<int64_t>(site), dropout.step);
  return {output, {query, key, value, relative, vectors}};
}

/// The same in float64, by plain operators that autograd follows: the distance of every pair is looked up.
Results expect_all(const Batch& batch, const Inputs& in, const at::Tensor& weights, const Dropout& dropout) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& tensor : {in.query, in.key, in.value, in.relative, in.vectors}) {
    leaves.push_back(tensor.to(at::kDouble).clone().requires_grad_(true));
  }
  const auto split = [&](const at::Tensor& x) { return x.view({x.size(0), batch.heads, batch.head_size}); };
  const auto [query, key, value, relative, vectors] =
      std::tuple(split(leaves[0]), split(leaves[1]), split(leaves[2]), split(leaves[3]), split(leaves[4]));
  std::vector<at::Tensor> outputs;
  int64_t first = 0;
  int64_t first_query = 0;
  for (size_t row = 0; row < batch.lengths.size(); ++row) {
    const int64_t length = batch.lengths[row];
    const int64_t count = batch.asking()[row];
    const at::Tensor q = query.narrow(0, first_query, count);
    const at::Tensor k = key.narrow(0, first, length);
    const at::Tensor asked = at::arange(count).unsqueeze(1);
    const at::Tensor number = count - asked + at::arange(length).unsqueeze(0);
    const at::Tensor r = relative.narrow(0, first + first_query, length + count)
                             .index_select(0, number.flatten())
                             .view({count, length, batch.heads, batch.head_size});
    const at::Tensor segments = in.segment_ids.narrow(0, first, length);
    const at::Tensor other = segments.narrow(0, batch.positions()[row], count)
                                 .unsqueeze(1)
                                 .ne(segments.unsqueeze(0))
                                 .to(at::kDouble)
                                 .unsqueeze(2)
                                 .unsqueeze(3);
    const at::Tensor s = vectors[3] + other * (vectors[4] - vectors[3]);
    const auto products = [](const at::Tensor& of_query, const at::Tensor& of_pair) {
      return (of_query.unsqueeze(1) * of_pair).sum(-1);
    };
    const at::Tensor scores =
        (products(q + vectors[0], k.unsqueeze(0)) + products(q + vectors[1], r) + products(q + vectors[2], s)) /
        std::sqrt(static_cast<double>(batch.head_size));
    at::Tensor probabilities = at::softmax(scores, 1);
    if (dropout.p > 0) {
      const at::Tensor mask = reference::attention_mask(dropout, site, batch.numbers()[row], batch.heads, length);
      probabilities = probabilities * mask.narrow(1, batch.positions()[row], count).permute({1, 2, 0});
    }
    outputs.push_back((probabilities.unsqueeze(3) * value.narrow(0, first, length).unsqueeze(0)).sum(1));
    first += length;
    first_query += count;
  }
  const at::Tensor output = at::cat(outputs).view({batch.queries(), batch.hidden()});
  output.backward(weights.to(at::kDouble));
  Results results{output.detach(), {}};
  for (const at::Tensor& leaf : leaves) results.grads.push_back(leaf.grad());
  return results;
}

void compare(const Batch& batch, at::ScalarType dtype, double p) {
  const Dropout dropout{.p = p, .seed = 3, .layer = 5, .step = 29};
  const Inputs inputs(batch, dtype);
  const at::Tensor weights = reference::noise({batch.queries(), batch.hidden()}, 6).to(dtype);
  const Results actual = apply(batch, inputs, weights, dropout);
  const Results expected = expect_all(batch, inputs, weights, dropout);
  const double limit = dtype == at::kFloat ? 2e-6 : 2.5e-3;
  EXPECT(actual.output.scalar_type() == dtype && actual.grads[4].scalar_type() == at::kFloat);
  EXPECT_AT_MOST(relative_error(actual.output, expected.output), limit);
  // The vectors' are sums over all queries of what mostly cancels.
  for (int i = 0; i < 5; ++i) {
    const double error = (actual.grads[i].to(at::kDouble) - expected.grads[i]).norm().item<double>();
    const double size = expected.grads[i].norm().item<double>();
    EXPECT(error <= (i == 4 ? 10 : 1) * limit * size + 1e-5, "gradient ", i, ": ", error, " of ", size);
  }
}

}  // namespace

TEST("relative attention agrees with distances looked up in float64, both ways, in both dtypes, with the same masks") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const double p : {0.0, 0.1, 0.5}) {
      for (const bool last_alone : {false, true}) {
        compare({.lengths = {1, 2, 17, 64, 65, 130}, .heads = 2, .head_size = 32, .last_alone = last_alone}, dtype, p);
      }
    }
  }
}

TEST("relative attention takes rows longer than one task and heads of any size") {
  for (const bool last_alone : {false, true}) {
    compare({.lengths = {3, 600}, .heads = 1, .head_size = 8, .last_alone = last_alone}, at::kFloat, 0.1);
    for (const int64_t head_size : {1, 5, 16, 31, 48, 64, 80, 128}) {
      compare({.lengths = {9, 40}, .heads = 3, .head_size = head_size, .last_alone = last_alone}, at::kFloat, 0.1);
    }
  }
}

TEST("relative attention gives the same bits with any number of threads and wherever a row lies") {
  const Dropout dropout{.p = 0.1, .seed = 3, .layer = 5, .step = 29};
  const Batch batch{.lengths = {7, 100, 33, 1, 300}, .heads = 4, .head_size = 16};
  const Inputs inputs(batch, at::kFloat);
  const at::Tensor weights = reference::noise({batch.queries(), batch.hidden()}, 6);
  const Results once = apply(batch, inputs, weights, dropout);
  for (const int threads : {1, 3}) {
    const reference::Threads some(threads);
    const Results again = apply(batch, inputs, weights, dropout);
    EXPECT(reference::same_bits(once.output, again.output));
    for (int i = 0; i < 5; ++i) EXPECT(reference::same_bits(once.grads[i], again.grads[i]), threads, " threads: ", i);
  }
  // The first row by itself: its number in the data set is the same there.
  const Batch alone{.lengths = {7}, .heads = 4, .head_size = 16};
  Inputs first = inputs;
  for (at::Tensor* tensor : {&first.query, &first.key, &first.value, &first.segment_ids}) {
    *tensor = tensor->narrow(0, 0, 7).contiguous();
  }
  first.relative = first.relative.narrow(0, 0, 14).contiguous();
  const Results row = apply(alone, first, weights.narrow(0, 0, 7).contiguous(), dropout);
  EXPECT(reference::same_bits(row.output, once.output.narrow(0, 0, 7)));
  EXPECT(reference::same_bits(row.grads[1], once.grads[1].narrow(0, 0, 7)));
  EXPECT(reference::same_bits(row.grads[3], once.grads[3].narrow(0, 0, 14)));
}

TEST("the last token alone gets what it gets among all: the same distances and the same mask") {
  const Dropout dropout{.p = 0.3, .seed = 3, .layer = 5, .step = 29};
  const Batch all{.lengths = {5, 70}, .heads = 2, .head_size = 16};
  const Batch last{.lengths = {5, 70}, .heads = 2, .head_size = 16, .last_alone = true};
  const Inputs inputs(all, at::kFloat);
  Inputs some = inputs;
  const at::Tensor tokens = ints({4, 74});
  some.query = inputs.query.index_select(0, tokens);
  // Of 10 relative keys of the first row 0 .. 5, of 140 of the second 0 .. 70.
  some.relative = at::cat({inputs.relative.narrow(0, 0, 6), inputs.relative.narrow(0, 10, 71)});
  const at::Tensor ones = at::ones({75, 32});
  const Results whole = apply(all, inputs, ones, dropout);
  const Results alone = apply(last, some, at::ones({2, 32}), dropout);
  EXPECT_AT_MOST(relative_error(alone.output, whole.output.index_select(0, tokens)), 1e-6);
  EXPECT_AT_MOST(relative_error(alone.grads[0], whole.grads[0].index_select(0, tokens)), 1e-5);
}

TEST("relative attention keeps NaN in its row and head, and refuses queries outside of their row") {
  const Dropout dropout{.p = 0.1, .seed = 3, .layer = 5, .step = 29};
  const Batch batch{.lengths = {7, 20}, .heads = 2, .head_size = 16};
  Inputs inputs(batch, at::kFloat);
  // A relative key that every query of the second row has with one of its keys.
  inputs.relative[14 + 20][3] = std::numeric_limits<float>::quiet_NaN();
  const Results results = apply(batch, inputs, at::ones({27, 32}), dropout);
  EXPECT(results.output.slice(0, 7).slice(1, 0, 16).isnan().all().item<bool>());
  EXPECT(!results.output.slice(0, 0, 7).isnan().any().item<bool>());
  EXPECT(!results.output.slice(1, 16).isnan().any().item<bool>());
  EXPECT(results.grads[1].slice(0, 7).slice(1, 0, 16).isnan().all().item<bool>());
  EXPECT(!results.grads[1].slice(0, 0, 7).isnan().any().item<bool>());

  const Inputs right(batch, at::kFloat);
  EXPECT_THROWS(operators::relative_attention(right.query, right.key, right.value, right.relative, right.vectors,
                                              right.segment_ids, ints({0, 7, 27}), ints({0, 1}), ints({0, 7, 27}),
                                              ints({1, 2}), 2, 0, 0, 0, 1, 0),
                "20 queries from position 1 on are not among the 20 tokens of row 1");
  EXPECT_THROWS(
      operators::relative_attention(right.query, right.key, right.value, right.key, right.vectors, right.segment_ids,
                                    ints({0, 7, 27}), ints({0, 0}), ints({0, 7, 27}), ints({1, 2}), 2, 0, 0, 0, 1, 0),
      "relative is [27, 32], not [54, 32]");
}
