#include "core/operators.h"
#include "expect.h"
#include "reference.h"

using reference::Dropout;
using reference::ints;
using reference::relative_error;
using steadytune::Site;
namespace operators = steadytune::operators;

namespace {

constexpr auto site = static_cast<int64_t>(Site::attention_probabilities);

struct Batch {
  std::vector<int32_t> lengths;
  std::vector<int32_t> positions;
  int64_t heads;
  int64_t head_size;

  int64_t rows() const { return static_cast<int64_t>(lengths.size()); }
  int64_t hidden() const { return heads * head_size; }
  std::vector<int32_t> numbers() const {
    std::vector<int32_t> result;
    for (size_t row = 0; row < lengths.size(); ++row) result.push_back(static_cast<int32_t>(500 + 91 * row));
    return result;
  }
  /// The token of each row that asks.
  at::Tensor tokens() const {
    const std::vector<int32_t> offsets = reference::offsets(lengths);
    std::vector<int32_t> result;
    for (size_t row = 0; row < lengths.size(); ++row) result.push_back(offsets[row] + positions[row]);
    return ints(result);
  }
};

struct Results {
  at::Tensor output;
  at::Tensor grad_query;
  at::Tensor grad_key_value;
};

Results apply(const Batch& batch, const at::Tensor& query, const at::Tensor& key_value, const at::Tensor& weights,
              const Dropout& dropout) {
  const at::Tensor offsets = ints(reference::offsets(batch.lengths));
  const at::Tensor numbers = ints(batch.numbers());
  const at::Tensor positions = ints(batch.positions);
  const auto [output, logsumexp] =
      operators::summary_attention(query, key_value, offsets, numbers, positions, batch.heads, dropout.p, dropout.seed,
                                   dropout.layer, site, dropout.step);
  const auto [grad_query, grad_key_value] =
      operators::summary_attention_backward(weights, query, key_value, logsumexp, offsets, numbers, positions,
                                            batch.heads, dropout.p, dropout.seed, dropout.layer, site, dropout.step);
  return {output, grad_query, grad_key_value};
}

void compare(const Batch& batch, at::ScalarType dtype, double p) {
  const Dropout dropout{.p = p, .seed = 3, .layer = 5, .step = 29};
  const int64_t hidden = batch.hidden();
  const int64_t tokens = reference::offsets(batch.lengths).back();
  const at::Tensor qkv = (reference::noise({tokens, 3 * hidden}, 1) * 2.5).to(dtype);
  const at::Tensor weights = reference::noise({batch.rows(), hidden}, 2).to(dtype);
  const at::Tensor query = qkv.slice(1, 0, hidden).index_select(0, batch.tokens()).contiguous();
  const at::Tensor key_value = qkv.slice(1, hidden, 3 * hidden).contiguous();
  const Results actual = apply(batch, query, key_value, weights, dropout);

  // The attention of all tokens in float64, of which some are taken.
  at::Tensor leaf = qkv.to(at::kDouble).requires_grad_(true);
  const at::Tensor expected = reference::attention(leaf, batch.lengths, batch.numbers(), batch.heads, false, dropout,
                                                   Site::attention_probabilities)
                                  .index_select(0, batch.tokens());
  expected.backward(weights.to(at::kDouble));
  const at::Tensor grad_query = leaf.grad().slice(1, 0, hidden).index_select(0, batch.tokens());
  const double limit = dtype == at::kFloat ? 2e-6 : 2.5e-3;
  EXPECT_AT_MOST(relative_error(actual.output, expected), limit);
  EXPECT_AT_MOST(relative_error(actual.grad_key_value, leaf.grad().slice(1, hidden, 3 * hidden)), limit);
  // A row of one token gives its query no gradient but rounding.
  EXPECT_AT_MOST((actual.grad_query.to(at::kDouble) - grad_query).norm().item<double>(),
                 limit * grad_query.norm().item<double>() + 1e-5);
}

}  // namespace

TEST("attention of one query per row agrees with that of all in float64, with the same masks, both ways") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const double p : {0.0, 0.1, 0.5}) {
      compare({.lengths = {1, 2, 17, 512, 64, 65}, .positions = {0, 1, 0, 511, 3, 64}, .heads = 3, .head_size = 32},
              dtype, p);
    }
  }
}

TEST("attention of one query per row takes heads of any size") {
  for (const int64_t head_size : {1, 5, 8, 31, 48, 64, 80, 128}) {
    compare({.lengths = {9, 40}, .positions = {0, 39}, .heads = 2, .head_size = head_size}, at::kFloat, 0.1);
  }
}

TEST("attention of one query per row gives the same bits with any number of threads, and keeps NaN") {
  const Batch batch{.lengths = {7, 100, 33}, .positions = {0, 0, 0}, .heads = 4, .head_size = 16};
  const Dropout dropout{.p = 0.1, .seed = 3, .layer = 5, .step = 29};
  const at::Tensor query = reference::noise({3, 64}, 1);
  at::Tensor key_value = reference::noise({140, 128}, 2);
  const at::Tensor weights = reference::noise({3, 64}, 3);
  const Results once = apply(batch, query, key_value, weights, dropout);
  {
    const reference::Threads one(1);
    const Results again = apply(batch, query, key_value, weights, dropout);
    EXPECT(reference::same_bits(once.output, again.output));
    EXPECT(reference::same_bits(once.grad_query, again.grad_query));
    EXPECT(reference::same_bits(once.grad_key_value, again.grad_key_value));
  }
  key_value[20][0] = std::numeric_limits<float>::quiet_NaN();
  const Results spoilt = apply(batch, query, key_value, weights, dropout);
  EXPECT(spoilt.output[1].isnan().any().item<bool>());
  EXPECT(!spoilt.output[0].isnan().any().item<bool>() && !spoilt.output[2].isnan().any().item<bool>());
}
