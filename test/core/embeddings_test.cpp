#include "expect.h"
#include "fused.h"

using fused::Places;
using reference::Dropout;
using reference::ints;
using reference::relative_error;
using steadytune::Site;
namespace operators = steadytune::operators;

namespace {

constexpr double eps = 1e-12;
constexpr auto site = static_cast<int64_t>(Site::embeddings);
const Dropout no_dropout{.p = 0.0, .seed = 0, .layer = 0, .step = 0};
const Dropout some_dropout{.p = 0.1, .seed = 77, .layer = 0, .step = 12};

struct Tables {
  at::Tensor word;
  at::Tensor position;
  at::Tensor segment;
  at::Tensor weight;
  at::Tensor norm_bias;

  explicit Tables(int64_t columns)
      : word(reference::noise({50, columns}, 1)),
        position(reference::noise({9, columns}, 2)),
        segment(reference::noise({2, columns}, 3)),
        weight(reference::noise({columns}, 4) + 1.5),
        norm_bias(reference::noise({columns}, 5)) {}
};

struct Ids {
  at::Tensor word;
  at::Tensor position;
  at::Tensor segment;

  explicit Ids(int64_t tokens)
      : word((at::arange(tokens, at::kLong) * 7 % 50).to(at::kInt)),
        position((at::arange(tokens, at::kLong) % 9).to(at::kInt)),
        segment((at::arange(tokens, at::kLong) % 2).to(at::kInt)) {}
};

struct Outputs {
  at::Tensor y;
  Tables gradients;
};

/// Gradients of the tables are added to ones, so that writing over them would show.
Outputs apply(const Tables& in, const Ids& ids, const Places& places, const at::Tensor& grad_y, bool segments,
              double scale, const Dropout& dropout, at::ScalarType dtype) {
  const auto optional = [&](const at::Tensor& tensor) { return segments ? std::optional(tensor) : std::nullopt; };
  const auto [y, normalized, rstd] =
      operators::embed(in.word, in.position, optional(in.segment), ids.word, ids.position, optional(ids.segment), scale,
                       in.weight, in.norm_bias, eps, dtype, places.rows, places.positions, dropout.p, dropout.seed,
                       dropout.layer, site, dropout.step);
  Tables gradients = in;
  for (at::Tensor* table : {&gradients.word, &gradients.position, &gradients.segment}) *table = at::ones_like(*table);
  std::tie(gradients.weight, gradients.norm_bias) =
      operators::embed_backward(grad_y, normalized, rstd, in.weight, ids.word, ids.position, optional(ids.segment),
                                scale, gradients.word, gradients.position, optional(gradients.segment), places.rows,
                                places.positions, dropout.p, dropout.seed, dropout.layer, site, dropout.step);
  for (at::Tensor* table : {&gradients.word, &gradients.position, &gradients.segment}) *table = *table - 1;
  return {y, gradients};
}

}  // namespace

TEST("embeddings, LayerNorm and dropout equal ATen in float64, with gradients by autograd, for every dtype") {
  for (const int64_t columns : {7, 32, 384, 1000}) {
    for (const int64_t tokens : {0, 1, 3, 257}) {
      for (const bool segments : {true, false}) {
        for (const auto dtype : {at::kFloat, at::kBFloat16}) {
          for (const Dropout& dropout : {no_dropout, some_dropout}) {
            const Tables in(columns);
            const Ids ids(tokens);
            const Places places(tokens);
            const double scale = segments ? 1.0 : 3.0;
            const at::Tensor grad_y = reference::noise({tokens, columns}, 6).to(dtype);
            const Outputs out = apply(in, ids, places, grad_y, segments, scale, dropout, dtype);

            Tables exact = in;
            for (at::Tensor* leaf : {&exact.word, &exact.position, &exact.segment, &exact.weight, &exact.norm_bias}) {
              *leaf = leaf->to(at::kDouble).requires_grad_(true);
            }
            at::Tensor sum =
                exact.word.index_select(0, ids.word) * scale + exact.position.index_select(0, ids.position);
            if (segments) sum = sum + exact.segment.index_select(0, ids.segment);
            const at::Tensor mask = fused::mask(places, columns, dropout, Site::embeddings);
            const at::Tensor expected = at::layer_norm(sum, {columns}, exact.weight, exact.norm_bias, eps) * mask;
            expected.backward(grad_y.to(at::kDouble));

            EXPECT(out.y.scalar_type() == dtype && out.y.size(0) == tokens);
            EXPECT_AT_MOST(relative_error(out.y, expected), fused::tolerance(dtype));
            // Taken from ones again, which leaves an absolute error of float32.
            const auto close = [&](const at::Tensor& actual, const at::Tensor& leaf) {
              const double error = (actual.to(at::kDouble) - leaf.grad()).norm().item<double>();
              EXPECT_AT_MOST(error, 3e-6 * (leaf.grad().norm().item<double>() + std::sqrt(double(leaf.numel()))));
            };
            close(out.gradients.word, exact.word);
            close(out.gradients.position, exact.position);
            if (segments) close(out.gradients.segment, exact.segment);
            close(out.gradients.weight, exact.weight);
            close(out.gradients.norm_bias, exact.norm_bias);
          }
        }
      }
    }
  }
}

TEST("a word that stands in many tokens sums them in their order, with any number of threads") {
  const Tables in(384);
  Ids ids(300);
  ids.word = ids.word.remainder(3).to(at::kInt);
  const Places places(300);
  const at::Tensor grad_y = reference::noise({300, 384}, 6);
  const Outputs two = apply(in, ids, places, grad_y, true, 1.0, some_dropout, at::kFloat);
  const reference::Threads one(1);
  const Outputs again = apply(in, ids, places, grad_y, true, 1.0, some_dropout, at::kFloat);
  EXPECT(reference::same_bits(two.y, again.y));
  EXPECT(reference::same_bits(two.gradients.word, again.gradients.word));
  EXPECT(reference::same_bits(two.gradients.weight, again.gradients.weight));
}

TEST("ids outside their table are refused before any is looked up") {
  const Tables in(8);
  Ids ids(4);
  const Places places(4);
  const at::Tensor grad_y = reference::noise({4, 8}, 6);
  ids.word = ints({0, 1, 50, 3});
  EXPECT_THROWS(apply(in, ids, places, grad_y, true, 1.0, no_dropout, at::kFloat),
                "word_ids holds 50, outside 0 .. 49");
  ids = Ids(4);
  ids.segment = ints({0, -1, 0, 1});
  EXPECT_THROWS(apply(in, ids, places, grad_y, true, 1.0, no_dropout, at::kFloat), "segment_ids holds -1");
}
