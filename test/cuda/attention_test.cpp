#include <algorithm>
#include <limits>
#include <vector>

#include "operators.h"

using kernels::difference;
using kernels::tolerance;
using reference::ints;
using reference::noise;

namespace {

constexpr int64_t seed = 77;
constexpr int64_t layer = 5;
constexpr int64_t site = 1;
constexpr int64_t step = 12;

struct Case {
  std::vector<int32_t> lengths;
  int64_t heads;
  int64_t head_size;
  bool causal;
  double p;
};

const std::vector<Case> cases{
    {{1}, 2, 64, false, 0.1},
    {{512, 1}, 1, 64, false, 0.1},
    {{0, 31, 32, 0, 33}, 3, 32, false, 0.0},
    {{0, 31, 32, 0, 33}, 3, 32, true, 0.3},
    {{64, 65, 7}, 2, 8, false, 0.3},
    {{7, 70}, 1, 128, false, 0.3},
    {{70, 7}, 1, 128, true, 0.0},
    {{40}, 4, 80, false, 0.1},
    {{11, 100}, 2, 26, true, 0.1},
    // More rows than lanes.
    {std::vector<int32_t>(70, 3), 1, 40, false, 0.1},
};

/// Numbers of the rows in the data set.
at::Tensor numbers(const Case& example) {
  return (at::arange(static_cast<int64_t>(example.lengths.size()), at::kInt) * 7919 + 70000).to(at::kInt);
}

at::Tensor queries_keys_values(const Case& example, int64_t tokens) {
  return noise({tokens, 3 * example.heads * example.head_size}, 1) * 2;
}

}  // namespace

TEST("CUDA: attention and its gradients agree with the CPU for rows of any length, with its masks") {
  for (const Case& example : cases) {
    const std::vector<int32_t> offsets = reference::offsets(example.lengths);
    const at::Tensor bounds = ints(offsets);
    const int64_t tokens = offsets.back();
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor qkv = queries_keys_values(example, tokens).to(dtype);
      const at::Tensor grad = noise({tokens, example.heads * example.head_size}, 2).to(dtype);
      const auto [output, logsumexp] = kernels::packed_attention.cpu(
          qkv, bounds, numbers(example), example.heads, example.causal, example.p, seed, layer, site, step, {});
      const auto [actual, actual_logsumexp] =
          kernels::packed_attention.cuda(kernels::misaligned(qkv), bounds, numbers(example), example.heads,
                                         example.causal, example.p, seed, layer, site, step, {});
      EXPECT_AT_MOST(difference(actual, output), tolerance(dtype));
      EXPECT_AT_MOST(difference(actual_logsumexp, logsumexp), tolerance(at::kFloat));
      const auto [aligned, aligned_logsumexp] = kernels::packed_attention.cuda(
          qkv, bounds, numbers(example), example.heads, example.causal, example.p, seed, layer, site, step, {});
      EXPECT(reference::same_bits(aligned, actual) && reference::same_bits(aligned_logsumexp, actual_logsumexp));
      const at::Tensor grad_qkv =
          kernels::packed_attention_backward.cpu(grad, qkv, output, logsumexp, bounds, numbers(example), example.heads,
                                                 example.causal, example.p, seed, layer, site, step, {});
      const at::Tensor actual_grad =
          kernels::packed_attention_backward.cuda(grad, qkv, output, logsumexp, bounds, numbers(example), example.heads,
                                                  example.causal, example.p, seed, layer, site, step, {});
      EXPECT_AT_MOST(difference(actual_grad, grad_qkv), 2 * tolerance(dtype));
    }
  }
}

TEST("CUDA: the mask on probabilities is the CPU's, bit for bit, forward and backward") {
  // Equal scores, and values that are one for their own key alone: outputs show which keys are kept.
  constexpr int64_t length = 100;
  constexpr int64_t heads = 2;
  constexpr int64_t head_size = 128;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    at::Tensor qkv = at::zeros({length, 3, heads, head_size}, dtype);
    qkv.select(1, 2).copy_(at::eye(length, head_size).view({length, 1, head_size}).expand({length, heads, head_size}));
    qkv = qkv.view({length, -1});
    const at::Tensor bounds = ints({0, length});
    const at::Tensor row = ints({1999999999});
    const auto [expected, logsumexp] =
        kernels::packed_attention.cpu(qkv, bounds, row, heads, false, 0.5, seed, layer, site, step, {});
    const at::Tensor counter = at::tensor({step - 1, int64_t{3}, seed - 2}, at::kLong);
    const auto [actual, unused] =
        kernels::packed_attention.cuda(qkv, bounds, row, heads, false, 0.5, 2, layer, site, 1, counter);
    EXPECT(kernels::same_zeros(actual, expected));
    const int64_t kept = actual.ne(0).sum().item<int64_t>();
    EXPECT(kept > 9600 && kept < 10400, kept, " of 20000 are kept");
    // The gradient of a value is the sum of the kept weights of its column where the output's gradient is one.
    const at::Tensor grad =
        at::eye(length, head_size, dtype).view({length, 1, head_size}).expand({length, heads, head_size});
    const at::Tensor flat = grad.reshape({length, heads * head_size});
    const at::Tensor expected_grad = kernels::packed_attention_backward.cpu(
        flat, qkv, expected, logsumexp, bounds, row, heads, false, 0.5, seed, layer, site, step, {});
    const at::Tensor actual_grad = kernels::packed_attention_backward.cuda(
        flat, qkv, expected, logsumexp, bounds, row, heads, false, 0.5, 2, layer, site, 1, counter);
    const int64_t values = 2 * heads * head_size;
    EXPECT(kernels::same_zeros(actual_grad.slice(1, values), expected_grad.slice(1, values)));
  }
}

TEST("CUDA: outputs are one where all values are: weights that are rounded have no bias") {
  const Case example{{100}, 2, 64, false, 0.0};
  at::Tensor qkv = noise({100, 3, 128}, 1);
  qkv.select(1, 2).fill_(1);
  const at::Tensor input = qkv.view({100, -1}).to(at::kBFloat16);
  const auto [output, logsumexp] =
      kernels::packed_attention.cuda(input, ints({0, 100}), numbers(example), 2, false, 0, seed, layer, site, step, {});
  EXPECT(reference::same_bits(output, at::ones_like(output)));
}

TEST("CUDA: filler tokens behind the last row get zeros and change no bit of the others") {
  const Case example{{5, 40, 0}, 2, 32, false, 0.1};
  const std::vector<int32_t> offsets = reference::offsets(example.lengths);
  const int64_t tokens = offsets.back();
  const int64_t padded = tokens + 50;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor qkv = queries_keys_values(example, padded).to(dtype);
    const at::Tensor grad = noise({padded, 64}, 2).to(dtype);
    const auto run = [&](int64_t count) {
      const at::Tensor input = qkv.slice(0, 0, count).contiguous();
      const auto [output, logsumexp] = kernels::packed_attention.cuda(
          input, ints(offsets), numbers(example), example.heads, false, example.p, seed, layer, site, step, {});
      const at::Tensor grad_qkv = kernels::packed_attention_backward.cuda(
          grad.slice(0, 0, count).contiguous(), input, output, logsumexp, ints(offsets), numbers(example),
          example.heads, false, example.p, seed, layer, site, step, {});
      return std::tuple{output, logsumexp, grad_qkv};
    };
    const auto [output, logsumexp, grad_qkv] = run(tokens);
    const auto [padded_output, padded_logsumexp, padded_grad] = run(padded);
    EXPECT(reference::same_bits(padded_output.slice(0, 0, tokens), output));
    EXPECT(reference::same_bits(padded_logsumexp.slice(1, 0, tokens), logsumexp));
    EXPECT(reference::same_bits(padded_grad.slice(0, 0, tokens), grad_qkv));
    EXPECT_EQUAL(padded_output.slice(0, tokens).abs().sum().item<float>(), 0.0f);
    EXPECT_EQUAL(padded_logsumexp.slice(1, tokens).abs().sum().item<float>(), 0.0f);
    EXPECT_EQUAL(padded_grad.slice(0, tokens).abs().sum().item<float>(), 0.0f);
  }
}

TEST("CUDA: a number that is not finite reaches every query of its row and head, and no other") {
  const Case example{{40, 3}, 2, 32, false, 0.0};
  const std::vector<int32_t> offsets = reference::offsets(example.lengths);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    at::Tensor qkv = queries_keys_values(example, offsets.back()).to(dtype);
    // The key of token 35 in head 0.
    qkv.index_put_({at::tensor(35), at::tensor(64 + 7)}, std::numeric_limits<double>::quiet_NaN());
    const auto [output, logsumexp] =
        kernels::packed_attention.cuda(qkv, ints(offsets), numbers(example), 2, false, 0, seed, layer, site, step, {});
    EXPECT(output.slice(0, 0, 40).slice(1, 0, 32).isnan().all().item<bool>());
    EXPECT(!output.slice(0, 0, 40).slice(1, 32).isnan().any().item<bool>());
    EXPECT(!output.slice(0, 40).isnan().any().item<bool>());
  }
}

TEST("CUDA: attention of summary tokens and its gradients agree with the CPU, with the masks of those tokens") {
  for (const Case& example : cases) {
    if (example.causal) continue;
    const std::vector<int32_t> offsets = reference::offsets(example.lengths);
    const auto rows = static_cast<int64_t>(example.lengths.size());
    const int64_t hidden = example.heads * example.head_size;
    const int64_t tokens = offsets.back();
    at::Tensor positions = at::zeros({rows}, at::kInt);
    positions[0] = std::max(0, example.lengths[0] - 1);
    // What empty rows get is undefined.
    const at::Tensor filled = ints(example.lengths).gt(0).nonzero().flatten();
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor query = (noise({rows, hidden}, 1) * 2).to(dtype);
      const at::Tensor key_value = (noise({tokens, 2 * hidden}, 2) * 2).to(dtype);
      const at::Tensor grad = noise({rows, hidden}, 3).to(dtype);
      const auto of_rows = [&](const at::Tensor& tensor, int64_t axis) { return tensor.index_select(axis, filled); };
      const auto [output, logsumexp] =
          kernels::summary_attention.cpu(query, key_value, ints(offsets), numbers(example), positions, example.heads,
                                         example.p, seed, layer, site, step, {});
      const auto [actual, actual_logsumexp] = kernels::summary_attention.cuda_once(
          true, query, kernels::misaligned(key_value), ints(offsets), numbers(example), positions, example.heads,
          example.p, 7, layer, site, 2, at::tensor({step - 2, int64_t{9}, seed - 7}, at::kLong));
      EXPECT_AT_MOST(difference(of_rows(actual, 0), of_rows(output, 0)), tolerance(dtype));
      EXPECT_AT_MOST(difference(of_rows(actual_logsumexp, 1), of_rows(logsumexp, 1)), tolerance(at::kFloat));
      const auto [grad_query, grad_key_value] =
          kernels::summary_attention_backward.cpu(grad, query, key_value, logsumexp, ints(offsets), numbers(example),
                                                  positions, example.heads, example.p, seed, layer, site, step, {});
      // Ten filler tokens behind the last row.
      const at::Tensor padded = at::cat({key_value, key_value.slice(0, 0, 1).expand({10, 2 * hidden})});
      const auto [actual_query, actual_padded] = kernels::summary_attention_backward.cuda_once(
          false, grad, query, padded, logsumexp, ints(offsets), numbers(example), positions, example.heads, example.p,
          seed, layer, site, step, {});
      // Together: where a row has one key, the query's gradient is nothing but rounding.
      const auto together = [&](const at::Tensor& of_query, const at::Tensor& of_keys) {
        return at::cat({of_rows(of_query, 0).flatten(), of_keys.slice(0, 0, tokens).flatten()});
      };
      EXPECT_AT_MOST(difference(together(actual_query, actual_padded), together(grad_query, grad_key_value)),
                     2 * tolerance(dtype));
      EXPECT_EQUAL(actual_padded.slice(0, tokens).abs().sum().item<float>(), 0.0f);
    }
  }
}

TEST("CUDA: cross attention is the attention of the same query, key and value in one matrix, filler included") {
  const Case example{{5, 40, 0}, 2, 32, false, 0.1};
  const at::Tensor offsets = ints(reference::offsets(example.lengths));
  constexpr int64_t tokens = 45 + 40;
  constexpr int64_t hidden = 64;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor qkv = queries_keys_values(example, tokens).to(dtype);
    const at::Tensor grad = noise({tokens, hidden}, 2).to(dtype);
    const auto [output, logsumexp] =
        kernels::packed_attention.cuda(qkv, offsets, numbers(example), 2, false, 0.1, seed, layer, site, step, {});
    const at::Tensor grad_qkv = kernels::packed_attention_backward.cuda(
        grad, qkv, output, logsumexp, offsets, numbers(example), 2, false, 0.1, seed, layer, site, step, {});
    const at::Tensor query = qkv.slice(1, 0, hidden).contiguous();
    const at::Tensor key_value = qkv.slice(1, hidden).contiguous();
    const auto [crossed, same] =
        kernels::cross_attention.cuda(query, key_value, offsets, numbers(example), 2, 0.1, seed, layer, site, step, {});
    const auto [grad_query, grad_key_value] = kernels::cross_attention_backward.cuda(
        grad, query, key_value, same, offsets, numbers(example), 2, 0.1, seed, layer, site, step, {});
    EXPECT(reference::same_bits(crossed, output) && reference::same_bits(same, logsumexp));
    EXPECT(reference::same_bits(grad_query, grad_qkv.slice(1, 0, hidden).contiguous()));
    EXPECT(reference::same_bits(grad_key_value, grad_qkv.slice(1, hidden).contiguous()));
  }
}

namespace {

/// What relative attention reads of a case: of all tokens, or of the last of each row.
struct RelativeInputs {
  at::Tensor query;
  at::Tensor key;
  at::Tensor value;
  at::Tensor relative;
  at::Tensor vectors;
  at::Tensor segments;
  at::Tensor query_offsets;
  at::Tensor positions;
  at::Tensor grad;

  /// With some tokens of filler behind the last row, where all tokens ask those, too.
  RelativeInputs(const Case& example, bool last_alone, int64_t filler, at::ScalarType dtype) {
    const auto rows = static_cast<int64_t>(example.lengths.size());
    const int64_t hidden = example.heads * example.head_size;
    const int64_t tokens = reference::offsets(example.lengths).back() + filler;
    const int64_t queries = last_alone ? rows : tokens;
    const auto make = [&](int64_t lines, int64_t what) { return (noise({lines, hidden}, what) * 2).to(dtype); };
    query = make(queries, 1);
    key = make(tokens, 2);
    value = make(tokens, 3);
    relative = make(tokens + queries, 4);
    grad = make(queries, 5);
    vectors = noise({5, hidden}, 6);
    segments = (at::arange(tokens, at::kInt) / 7 % 2).to(at::kInt);
    const at::Tensor lengths = ints(example.lengths);
    query_offsets = last_alone ? at::arange(rows + 1, at::kInt) : ints(reference::offsets(example.lengths));
    positions = last_alone ? lengths - 1 : at::zeros_like(lengths);
  }

  /// Without the filler.
  void cut(int64_t queries, int64_t tokens) {
    for (at::Tensor* tensor : {&query, &grad}) *tensor = tensor->narrow(0, 0, queries).contiguous();
    for (at::Tensor* tensor : {&key, &value, &segments}) *tensor = tensor->narrow(0, 0, tokens).contiguous();
    relative = relative.narrow(0, 0, tokens + queries).contiguous();
  }
};

}  // namespace

TEST("CUDA: relative attention and its gradients agree with the CPU, with its masks, and give filler zeros") {
  for (const Case& example : cases) {
    const bool empty_rows = std::count(example.lengths.begin(), example.lengths.end(), 0) > 0;
    for (const bool last_alone : {false, true}) {
      if (last_alone && empty_rows) continue;
      const at::Tensor offsets = ints(reference::offsets(example.lengths));
      const int64_t tokens = reference::offsets(example.lengths).back();
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
        const RelativeInputs padded(example, last_alone, 40, dtype);
        RelativeInputs in = padded;
        const int64_t queries = last_alone ? in.query.size(0) : tokens;
        in.cut(queries, tokens);
        const auto [output, logsumexp] = kernels::relative_attention.cpu(
            in.query, in.key, in.value, in.relative, in.vectors, in.segments, in.query_offsets, in.positions, offsets,
            numbers(example), example.heads, example.p, seed, layer, site, step, {});
        const auto [actual, actual_logsumexp] = kernels::relative_attention.cuda(
            padded.query, kernels::misaligned(padded.key), padded.value, kernels::misaligned(padded.relative),
            in.vectors, padded.segments, in.query_offsets, in.positions, offsets, numbers(example), example.heads,
            example.p, 7, layer, site, 2, at::tensor({step - 2, int64_t{9}, seed - 7}, at::kLong));
        EXPECT_AT_MOST(difference(actual.narrow(0, 0, queries), output), tolerance(dtype));
        EXPECT_AT_MOST(difference(actual_logsumexp.narrow(1, 0, queries), logsumexp), tolerance(at::kFloat));
        const auto expected = kernels::relative_attention_backward.cpu(
            in.grad, in.query, in.key, in.value, in.relative, in.vectors, logsumexp, in.segments, in.query_offsets,
            in.positions, offsets, numbers(example), example.heads, example.p, seed, layer, site, step, {});
        const auto grads = kernels::relative_attention_backward.cuda(
            padded.grad, padded.query, padded.key, padded.value, padded.relative, in.vectors, actual_logsumexp,
            padded.segments, in.query_offsets, in.positions, offsets, numbers(example), example.heads, example.p, seed,
            layer, site, step, {});
        const auto flat = [&](const auto& all) {
          const auto& [query, key, value, relative, vectors] = all;
          return at::cat({query.narrow(0, 0, queries).flatten(), key.narrow(0, 0, tokens).flatten(),
                          value.narrow(0, 0, tokens).flatten(), relative.narrow(0, 0, tokens + queries).flatten()});
        };
        // Together: where a row has one key, most are nothing but rounding.
        EXPECT_AT_MOST(difference(flat(grads), flat(expected)), 2 * tolerance(dtype));
        const auto of_vectors = [](const auto& all) { return std::get<4>(all); };
        const double size = in.grad.to(at::kDouble).abs().sum().item<double>();
        EXPECT_AT_MOST((of_vectors(grads) - of_vectors(expected)).abs().max().item<double>() / size, 2e-6);
        const auto of_filler = [&](const at::Tensor& tensor, int64_t from) {
          return tensor.slice(0, from).abs().sum().item<float>();
        };
        EXPECT_EQUAL(of_filler(actual, queries), 0.0f);
        EXPECT_EQUAL(of_filler(std::get<0>(grads), queries), 0.0f);
        EXPECT_EQUAL(of_filler(std::get<1>(grads), tokens), 0.0f);
        EXPECT_EQUAL(of_filler(std::get<2>(grads), tokens), 0.0f);
        EXPECT_EQUAL(of_filler(std::get<3>(grads), tokens + queries), 0.0f);
      }
    }
  }
}
