#include "core/fused.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <initializer_list>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "core/operators.h"
#include "core/product.h"

namespace steadytune::fused {
namespace {

using torch::autograd::variable_list;

/// The place of each line of a tensor in the data: what its dropout masks are keyed by.
struct Lines {
  at::Tensor rows;       // int32
  at::Tensor positions;  // int32

  static Lines of(const PackedBatch& batch, bool summary_only) {
    if (!summary_only) return {batch.token_rows, batch.positions};
    return {batch.row_numbers, batch.summary_positions};
  }
};

struct Draws {
  double p;
  int64_t seed;
  int64_t layer;
  int64_t site;
  int64_t step;
  operators::Counter counter;

  static Draws of(const Pass& pass, double p, int64_t layer, Site site) {
    return {pass.draws.dropout ? p : 0, pass.draws.seed, layer,
            static_cast<int64_t>(site), pass.draws.step, pass.draws.counter};
  }
};

/// The weight that a pass multiplies with: `plain` where the plan does not mix it, else mixed in that dtype.
at::Tensor weight_of(const DrawKey& draws, const Leaf& leaf, const at::Tensor& plain) {
  if (!leaf.mixing || !draws.mixout) return plain;
  const auto& [target, p, how, place] = *leaf.mixing;
  return operators::mixout(leaf.master(), target, std::nullopt, p, how.column, how.exact_gradient, plain.scalar_type(),
                           draws.seed, place.layer, place.site, draws.step, draws.part, draws.counter);
}

/// In the compute dtype.
at::Tensor weight_of(const DrawKey& draws, const Leaf& leaf) { return weight_of(draws, leaf, leaf.copy); }

/// The tokens on both sides of a weight: left^T right is a gradient.
struct Sides {
  at::Tensor left;
  at::Tensor right;
};

/// The gradient of `weight_of`, [out, in], += left^T right; with several sides each gives some of its lines, in order.
void add_products(const DrawKey& draws, const Leaf& weight, std::initializer_list<Sides> parts) {
  if (!weight.trained()) return;
  const bool add = !weight.take_stale();
  // XLNet's matrices come as [.., heads, d].
  const at::Tensor grad = (weight.half ? weight.half_gradient : weight.gradient()).flatten(1);
  if (weight.mixing && draws.mixout) {
    const auto& [target, p, how, place] = *weight.mixing;
    std::vector<at::Tensor> products;
    for (const auto& [left, right] : parts) products.push_back(product_over_tokens(left, right));
    const at::Tensor more =
        operators::mixout_backward(at::cat(products), std::nullopt, p, how.column, how.exact_gradient, draws.seed,
                                   place.layer, place.site, draws.step, draws.part, draws.counter);
    add ? grad.add_(more) : grad.copy_(more);
    return;
  }
  int64_t line = 0;
  for (const auto& [left, right] : parts) {
    product_over_tokens_out(grad.narrow(0, line, left.size(1)), left, right, add);
    line += left.size(1);
  }
}

void add_product(const DrawKey& draws, const Leaf& weight, const at::Tensor& left, const at::Tensor& right) {
  add_products(draws, weight, {{left, right}});
}

void add(const Leaf& vector, const at::Tensor& gradient) {
  if (vector.trained()) vector.gradient().add_(gradient);
}

/// dropout(x + bias) + residual, normalized: the end of every part.
struct End {
  /// Null where there is none.
  const Leaf* bias;
  const Norm& norm;
  Lines lines;
  Draws draws;
  at::Tensor normalized;  // [lines, hidden]
  at::Tensor rstd;        // float32 [lines]

  at::Tensor forward(const at::Tensor& x, const at::Tensor& residual) {
    at::Tensor y;
    const at::Tensor added = bias ? bias->master() : at::zeros({x.size(1)}, x.options().dtype(at::kFloat));
    std::tie(y, normalized, rstd) = operators::dropout_add_norm(
        x, added, residual, norm.weight.master(), norm.bias.master(), norm.eps, lines.rows, lines.positions, draws.p,
        draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    return y;
  }

  /// Gradients of x and of the residual; without dropout they are one tensor.
  std::pair<at::Tensor, at::Tensor> backward(const at::Tensor& grad_y) const {
    auto [grad_x, grad_residual, grad_bias, grad_weight, grad_norm_bias] = operators::dropout_add_norm_backward(
        grad_y, normalized, rstd, norm.weight.master(), lines.rows, lines.positions, draws.p, draws.seed, draws.layer,
        draws.site, draws.step, draws.counter);
    if (bias) add(*bias, grad_bias);
    add(norm.weight, grad_weight);
    add(norm.bias, grad_norm_bias);
    return {grad_x, grad_residual};
  }
};

/// Saved: the normalized sum [T, width], float32, and one number more per token.
struct EmbeddedTokens : torch::CustomClassHolder {
  EmbeddedTokens(const Pass& pass, const Embeddings& embeddings)
      : batch(pass.batch),
        part(embeddings),
        draws(Draws::of(pass, embeddings.dropout, 0, embeddings.site)),
        segment_ids(embeddings.segment ? std::optional(batch.segment_ids) : std::nullopt) {}

  at::Tensor forward() {
    const auto segment = part.segment ? std::optional(part.segment->table.master()) : std::nullopt;
    at::Tensor y;
    std::tie(y, normalized, rstd) = operators::embed(
        part.word.table.master(), part.position.table.master(), segment, part.word_ids, batch.position_ids, segment_ids,
        part.word_scale, part.norm.weight.master(), part.norm.bias.master(), part.norm.eps, part.dtype,
        batch.token_rows, batch.positions, draws.p, draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    return y;
  }

  /// There is nothing in front of the tables.
  at::Tensor backward(const at::Tensor& grad, bool /*x_wanted*/) {
    const auto gradient = [](const Embedding* table) {
      return table && table->table.trained() ? std::optional(table->table.gradient()) : std::nullopt;
    };
    const auto [grad_weight, grad_norm_bias] = operators::embed_backward(
        grad.contiguous(), normalized, rstd, part.norm.weight.master(), part.word_ids, batch.position_ids, segment_ids,
        part.word_scale, gradient(&part.word), gradient(&part.position), gradient(part.segment), batch.token_rows,
        batch.positions, draws.p, draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    add(part.norm.weight, grad_weight);
    add(part.norm.bias, grad_norm_bias);
    return {};
  }

  PackedBatch batch;
  Embeddings part;
  Draws draws;
  std::optional<at::Tensor> segment_ids;
  at::Tensor normalized;
  at::Tensor rstd;
};

/// Saved: x, qkv (3 x), context and normalized, each [T, hidden] in the compute dtype, and two float32 numbers per
/// token and head or token. With b bytes per number 6 b hidden bytes a token.
struct AttentionHalf : torch::CustomClassHolder {
  AttentionHalf(const Half& half, const Attention& attention, const at::Tensor& input)
      : batch(half.pass.batch),
        part(attention),
        key(half.pass.draws),
        draws(Draws::of(half.pass, attention.probability_dropout, half.number, Site::attention_probabilities)),
        end{&attention.output.bias,
            half.norm,
            Lines::of(half.pass.batch, false),
            Draws::of(half.pass, half.output_dropout, half.number, Site::attention_output),
            {},
            {}},
        x(input) {}

  at::Tensor forward() {
    qkv_weight = weight_of(key, part.qkv.weight);
    output_weight = weight_of(key, part.output.weight);
    qkv = product(x, qkv_weight.t(), part.qkv.bias.copy);
    std::tie(context, logsumexp) =
        operators::packed_attention(qkv, batch.row_offsets, batch.row_numbers, part.heads, part.causal, draws.p,
                                    draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    return end.forward(product(context, output_weight.t()), x);
  }

  /// The gradient of x, undefined where it is not wanted.
  at::Tensor backward(const at::Tensor& grad, bool x_wanted) {
    auto [grad_y, grad_x] = end.backward(grad);
    add_product(key, part.output.weight, grad_y, context);
    const at::Tensor grad_qkv = operators::packed_attention_backward(
        product(grad_y, output_weight), qkv, context, logsumexp, batch.row_offsets, batch.row_numbers, part.heads,
        part.causal, draws.p, draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    add_product(key, part.qkv.weight, grad_qkv, x);
    if (part.qkv.bias.trained()) add(part.qkv.bias, operators::column_sums(grad_qkv));
    if (!x_wanted) return {};
    add_product_(grad_x, grad_qkv, qkv_weight);
    return grad_x;
  }

  PackedBatch batch;
  Attention part;
  DrawKey key;
  Draws draws;
  End end;
  at::Tensor x;
  at::Tensor qkv_weight;
  at::Tensor output_weight;
  at::Tensor qkv;
  at::Tensor context;
  at::Tensor logsumexp;
};

/// The same where the summary tokens alone are wanted: keys and values of all tokens, all else of one a row. Saved: x
/// and keys and values (2 x), 3 b hidden bytes a token.
struct SummaryAttentionHalf : torch::CustomClassHolder {
  SummaryAttentionHalf(const Half& half, const Attention& attention, const at::Tensor& input)
      : batch(half.pass.batch),
        part(attention),
        key(half.pass.draws),
        draws(Draws::of(half.pass, attention.probability_dropout, half.number, Site::attention_probabilities)),
        end{&attention.output.bias,
            half.norm,
            Lines::of(half.pass.batch, true),
            Draws::of(half.pass, half.output_dropout, half.number, Site::attention_output),
            {},
            {}},
        x(input) {}

  at::Tensor forward() {
    const int64_t hidden = x.size(1);
    qkv_weight = weight_of(key, part.qkv.weight);
    output_weight = weight_of(key, part.output.weight);
    const at::Tensor& bias = part.qkv.bias.copy;
    summary = x.index_select(0, batch.summary_tokens);
    query = product(summary, query_weight().t(), bias.narrow(0, 0, hidden));
    key_value = product(x, key_value_weight().t(), bias.narrow(0, hidden, 2 * hidden));
    std::tie(context, logsumexp) = operators::summary_attention(
        query, key_value, batch.row_offsets, batch.row_numbers, batch.summary_positions, part.heads, draws.p,
        draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    return end.forward(product(context, output_weight.t()), summary);
  }

  at::Tensor backward(const at::Tensor& grad, bool x_wanted) {
    auto [grad_y, grad_summary] = end.backward(grad);
    add_product(key, part.output.weight, grad_y, context);
    const auto [grad_query, grad_key_value] = operators::summary_attention_backward(
        product(grad_y, output_weight), query, key_value, logsumexp, batch.row_offsets, batch.row_numbers,
        batch.summary_positions, part.heads, draws.p, draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    add_products(key, part.qkv.weight, {{grad_query, summary}, {grad_key_value, x}});
    if (part.qkv.bias.trained()) {
      add(part.qkv.bias, at::cat({operators::column_sums(grad_query), operators::column_sums(grad_key_value)}));
    }
    if (!x_wanted) return {};
    add_product_(grad_summary, grad_query, query_weight());
    return product(grad_key_value, key_value_weight()).index_add_(0, batch.summary_tokens, grad_summary);
  }

  at::Tensor query_weight() const { return qkv_weight.narrow(0, 0, x.size(1)); }
  at::Tensor key_value_weight() const { return qkv_weight.narrow(0, x.size(1), 2 * x.size(1)); }

  PackedBatch batch;
  Attention part;
  DrawKey key;
  Draws draws;
  End end;
  at::Tensor x;
  at::Tensor summary;
  at::Tensor qkv_weight;
  at::Tensor output_weight;
  at::Tensor query;
  at::Tensor key_value;
  at::Tensor context;
  at::Tensor logsumexp;
};

/// Attention to the encoder's tokens. Saved: x, encoded (shared by the blocks), query, keys and values (2 x), context
/// and normalized, each [T, hidden] in the compute dtype, and two float32 numbers per token and head or token. With b
/// bytes per number 6 b hidden bytes a token; where the summary tokens alone are wanted, keys and values: 2 b hidden
/// bytes.
struct CrossAttentionHalf : torch::CustomClassHolder {
  CrossAttentionHalf(const Half& half, const CrossAttention& attention, const at::Tensor& input,
                     const at::Tensor& encoder_output, bool summary_tokens)
      : batch(half.pass.batch),
        part(attention),
        summary_only(summary_tokens),
        key(half.pass.draws),
        draws(Draws::of(half.pass, attention.probability_dropout, half.number, Site::cross_attention_probabilities)),
        end{&attention.output.bias,
            half.norm,
            Lines::of(half.pass.batch, summary_tokens),
            Draws::of(half.pass, half.output_dropout, half.number, Site::cross_attention_output),
            {},
            {}},
        x(input),
        encoded(encoder_output) {}

  at::Tensor forward() {
    query_weight = weight_of(key, part.query.weight);
    key_value_weight = weight_of(key, part.key_value.weight);
    output_weight = weight_of(key, part.output.weight);
    query = product(x, query_weight.t(), part.query.bias.copy);
    key_value = product(encoded, key_value_weight.t(), part.key_value.bias.copy);
    std::tie(context, logsumexp) =
        summary_only
            ? operators::summary_attention(query, key_value, batch.row_offsets, batch.row_numbers,
                                           batch.summary_positions, part.heads, draws.p, draws.seed, draws.layer,
                                           draws.site, draws.step, draws.counter)
            : operators::cross_attention(query, key_value, batch.row_offsets, batch.row_numbers, part.heads, draws.p,
                                         draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    return end.forward(product(context, output_weight.t()), x);
  }

  /// The gradients of x and of what was encoded, undefined where they are not wanted.
  std::pair<at::Tensor, at::Tensor> backward(const at::Tensor& grad, bool x_wanted, bool encoded_wanted) {
    auto [grad_y, grad_x] = end.backward(grad);
    add_product(key, part.output.weight, grad_y, context);
    const at::Tensor grad_context = product(grad_y, output_weight);
    const auto [grad_query, grad_key_value] =
        summary_only
            ? operators::summary_attention_backward(grad_context, query, key_value, logsumexp, batch.row_offsets,
                                                    batch.row_numbers, batch.summary_positions, part.heads, draws.p,
                                                    draws.seed, draws.layer, draws.site, draws.step, draws.counter)
            : operators::cross_attention_backward(grad_context, query, key_value, logsumexp, batch.row_offsets,
                                                  batch.row_numbers, part.heads, draws.p, draws.seed, draws.layer,
                                                  draws.site, draws.step, draws.counter);
    add_product(key, part.query.weight, grad_query, x);
    add_product(key, part.key_value.weight, grad_key_value, encoded);
    if (part.query.bias.trained()) add(part.query.bias, operators::column_sums(grad_query));
    if (part.key_value.bias.trained()) add(part.key_value.bias, operators::column_sums(grad_key_value));
    if (x_wanted) add_product_(grad_x, grad_query, query_weight);
    return {x_wanted ? grad_x : at::Tensor(),
            encoded_wanted ? product(grad_key_value, key_value_weight) : at::Tensor()};
  }

  PackedBatch batch;
  CrossAttention part;
  bool summary_only;
  DrawKey key;
  Draws draws;
  End end;
  at::Tensor x;
  at::Tensor encoded;
  at::Tensor query_weight;
  at::Tensor key_value_weight;
  at::Tensor output_weight;
  at::Tensor query;
  at::Tensor key_value;
  at::Tensor context;
  at::Tensor logsumexp;
};

/// XLNet's. Saved: x, query, keys, values, relative keys (2 x), context and normalized, each [T, hidden] in the compute
/// dtype, and two float32 numbers per token and head or token; the encodings of distances (2 x) are shared by the
/// blocks. With b bytes per number 8 b hidden bytes a token; where the summary tokens alone are wanted, x, keys, values
/// and relative keys: 4 b hidden bytes.
struct RelativeAttentionHalf : torch::CustomClassHolder {
  RelativeAttentionHalf(const Half& half, const RelativeAttention& attention, const at::Tensor& input,
                        const at::Tensor& encodings, bool summary_tokens)
      : batch(half.pass.batch),
        part(attention),
        summary_only(summary_tokens),
        key(half.pass.draws),
        draws(Draws::of(half.pass, attention.probability_dropout, half.number, Site::attention_probabilities)),
        end{nullptr,
            half.norm,
            Lines::of(half.pass.batch, summary_tokens),
            Draws::of(half.pass, half.output_dropout, half.number, Site::attention_output),
            {},
            {}},
        x(input),
        distances(encodings) {}

  at::Tensor forward() {
    const int64_t hidden = x.size(1);
    qkv_weight = weight_of(key, part.qkv).flatten(1);
    relative_weight = weight_of(key, part.relative).flatten(1);
    output_weight = weight_of(key, part.output).flatten(1);
    vectors = at::cat({part.content_bias.master().view({1, hidden}), part.position_bias.master().view({1, hidden}),
                       part.segment_bias.master().view({1, hidden}), part.segment.master().view({2, hidden})});
    asking = summary_only ? x.index_select(0, batch.summary_tokens) : x;
    query = product(asking, weight_part(0));
    keys = product(x, weight_part(1));
    values = product(x, weight_part(2));
    relative = product(distances, relative_weight);
    std::tie(context, logsumexp) =
        operators::relative_attention(query, keys, values, relative, vectors, batch.segment_ids, query_offsets(),
                                      query_positions(), batch.row_offsets, batch.row_numbers, part.heads, draws.p,
                                      draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    return end.forward(product(context, output_weight.t()), asking);
  }

  at::Tensor backward(const at::Tensor& grad, bool x_wanted) {
    auto [grad_y, grad_asking] = end.backward(grad);
    add_product(key, part.output, grad_y, context);
    const auto [grad_query, grad_keys, grad_values, grad_relative, grad_vectors] =
        operators::relative_attention_backward(product(grad_y, output_weight), query, keys, values, relative, vectors,
                                               logsumexp, batch.segment_ids, query_offsets(), query_positions(),
                                               batch.row_offsets, batch.row_numbers, part.heads, draws.p, draws.seed,
                                               draws.layer, draws.site, draws.step, draws.counter);
    add_products(key, part.qkv, {{asking, grad_query}, {x, grad_keys}, {x, grad_values}});
    add_product(key, part.relative, distances, grad_relative);
    const at::Tensor by_head = grad_vectors.view({5, part.heads, -1});
    add(part.content_bias, by_head[0]);
    add(part.position_bias, by_head[1]);
    add(part.segment_bias, by_head[2]);
    add(part.segment, by_head.narrow(0, 3, 2));
    if (!x_wanted) return {};
    add_product_(grad_asking, grad_query, weight_part(0).t());
    at::Tensor grad_x = summary_only ? product(grad_keys, weight_part(1).t()) : grad_asking;
    if (!summary_only) add_product_(grad_x, grad_keys, weight_part(1).t());
    add_product_(grad_x, grad_values, weight_part(2).t());
    return summary_only ? grad_x.index_add_(0, batch.summary_tokens, grad_asking) : grad_x;
  }

  /// [hidden, hidden]: of the query, the key or the value.
  at::Tensor weight_part(int64_t which) const { return qkv_weight.narrow(0, which * x.size(1), x.size(1)); }
  at::Tensor query_offsets() const { return summary_only ? batch.summary_offsets : batch.row_offsets; }
  at::Tensor query_positions() const { return summary_only ? batch.summary_positions : batch.row_zeros; }

  PackedBatch batch;
  RelativeAttention part;
  bool summary_only;
  DrawKey key;
  Draws draws;
  End end;
  at::Tensor x;
  at::Tensor distances;
  at::Tensor asking;
  at::Tensor qkv_weight;
  at::Tensor relative_weight;
  at::Tensor output_weight;
  at::Tensor vectors;
  at::Tensor query;
  at::Tensor keys;
  at::Tensor values;
  at::Tensor relative;
  at::Tensor context;
  at::Tensor logsumexp;
};

/// Saved: x and normalized [T, hidden], the first product with and without its activation [T, intermediate], in the
/// compute dtype. With b bytes per number b (2 hidden + 2 intermediate) bytes a token.
struct FeedForwardHalf : torch::CustomClassHolder {
  FeedForwardHalf(const Half& half, const FeedForward& network, const at::Tensor& input, bool summary_only)
      : part(network),
        key(half.pass.draws),
        draws(Draws::of(half.pass, network.activation_dropout, half.number, Site::ffn_activation)),
        end{&network.output.bias,
            half.norm,
            Lines::of(half.pass.batch, summary_only),
            Draws::of(half.pass, half.output_dropout, half.number, Site::ffn_output),
            {},
            {}},
        x(input) {}

  at::Tensor forward() {
    intermediate_weight = weight_of(key, part.intermediate.weight);
    output_weight = weight_of(key, part.output.weight);
    widened = product(x, intermediate_weight.t());
    activated = operators::bias_activation(widened, part.intermediate.bias.master(), code(), end.lines.rows,
                                           end.lines.positions, draws.p, draws.seed, draws.layer, draws.site,
                                           draws.step, draws.counter);
    return end.forward(product(activated, output_weight.t()), x);
  }

  /// The gradient of x, undefined where it is not wanted.
  at::Tensor backward(const at::Tensor& grad, bool x_wanted) {
    auto [grad_y, grad_residual] = end.backward(grad);
    add_product(key, part.output.weight, grad_y, activated);
    auto [grad_widened, grad_bias] = operators::bias_activation_backward(
        product(grad_y, output_weight), widened, part.intermediate.bias.master(), code(), end.lines.rows,
        end.lines.positions, draws.p, draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    add(part.intermediate.bias, grad_bias);
    add_product(key, part.intermediate.weight, grad_widened, x);
    if (!x_wanted) return {};
    add_product_(grad_residual, grad_widened, intermediate_weight);
    return grad_residual;
  }

  int64_t code() const { return static_cast<int64_t>(part.activation); }

  FeedForward part;
  DrawKey key;
  Draws draws;
  End end;
  at::Tensor x;
  at::Tensor intermediate_weight;
  at::Tensor output_weight;
  at::Tensor widened;
  at::Tensor activated;
};

/// The head with its loss, in float32. Saved: x, summary, widened and pooled [B, hidden] and the gradient of the logits
/// [B, outputs], (b + 12) hidden + 4 outputs bytes a row of the batch.
struct HeadEnd : torch::CustomClassHolder {
  HeadEnd(const Pass& pass, const Head& head, const at::Tensor& input)
      : batch(pass.batch),
        part(head),
        key(pass.draws),
        input_draws(Draws::of(pass, head.input_dropout, 0, Site::classifier_input)),
        draws(Draws::of(pass, head.dropout, 0, Site::classifier)),
        x(input) {}

  at::Tensor forward() {
    dense_weight = weight_of(key, part.dense.weight, part.dense.weight.master());
    output_weight = weight_of(key, part.output.weight, part.output.weight.master());
    summary = drop(x.to(at::kFloat));
    const auto labels = batch.labels.defined() ? std::optional(batch.labels) : std::nullopt;
    at::Tensor loss;
    std::tie(widened, pooled, logits, loss, grad_logits) = operators::head_loss(
        summary, dense_weight, part.dense.bias.master(), output_weight, part.output.bias.master(), labels, code(),
        batch.row_numbers, batch.row_zeros, draws.p, draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    return loss;
  }

  /// The gradient of x, undefined where it is not wanted.
  at::Tensor backward(const at::Tensor& grad, bool x_wanted) {
    const auto [scaled, grad_widened, grad_dense_bias, grad_output_bias] = operators::head_loss_backward(
        grad, grad_logits, widened, part.dense.bias.master(), output_weight, code(), batch.row_numbers, batch.row_zeros,
        draws.p, draws.seed, draws.layer, draws.site, draws.step, draws.counter);
    add(part.output.bias, grad_output_bias);
    add_product(key, part.output.weight, scaled, pooled);
    add(part.dense.bias, grad_dense_bias);
    add_product(key, part.dense.weight, grad_widened, summary);
    if (!x_wanted) return {};
    return drop(product(grad_widened, dense_weight)).to(x.scalar_type());
  }

  at::Tensor drop(const at::Tensor& values) const {
    return operators::dropout(values, batch.row_numbers, batch.row_zeros, input_draws.p, input_draws.seed,
                              input_draws.layer, input_draws.site, input_draws.step, input_draws.counter);
  }

  int64_t code() const { return static_cast<int64_t>(part.activation); }

  PackedBatch batch;
  Head part;
  DrawKey key;
  Draws input_draws;
  Draws draws;
  at::Tensor x;
  at::Tensor dense_weight;
  at::Tensor output_weight;
  at::Tensor summary;
  at::Tensor widened;
  at::Tensor pooled;
  at::Tensor logits;
  at::Tensor grad_logits;
};

/// Joins a half to the graph behind x.
template <typename State>
class Joined : public torch::autograd::Function<Joined<State>> {
 public:
  /// `anchor` is one of the half's trained leaves, so that its backward runs where x itself wants no gradient.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& /*x*/,
                            const at::Tensor& /*anchor*/, const c10::intrusive_ptr<State>& half) {
    context->saved_data["half"] = c10::IValue::make_capsule(half);
    return half->forward();
  }

  static variable_list backward(torch::autograd::AutogradContext* context, variable_list grads) {
    const auto half = c10::static_intrusive_pointer_cast<State>(context->saved_data["half"].toCapsule());
    const at::Tensor grad_x = half->backward(grads[0], context->needs_input_grad(0));
    // What was saved is needed no more, while the graph of the blocks below still is.
    context->saved_data.clear();
    return {grad_x, {}, {}};
  }
};

/// Joins attention to other tokens to the graphs behind both.
class JoinedCross : public torch::autograd::Function<JoinedCross> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& /*x*/,
                            const at::Tensor& /*encoded*/, const at::Tensor& /*anchor*/,
                            const c10::intrusive_ptr<CrossAttentionHalf>& half) {
    context->saved_data["half"] = c10::IValue::make_capsule(half);
    return half->forward();
  }

  static variable_list backward(torch::autograd::AutogradContext* context, variable_list grads) {
    const auto half = c10::static_intrusive_pointer_cast<CrossAttentionHalf>(context->saved_data["half"].toCapsule());
    const auto [grad_x, grad_encoded] =
        half->backward(grads[0], context->needs_input_grad(0), context->needs_input_grad(1));
    context->saved_data.clear();
    return {grad_x, grad_encoded, {}, {}};
  }
};

/// A trained leaf among these; else the first.
const at::Tensor& anchor_of(std::initializer_list<const Leaf*> leaves) {
  for (const Leaf* leaf : leaves) {
    if (leaf->trained()) return leaf->value;
  }
  return (*leaves.begin())->value;
}

}  // namespace

at::Tensor embed(const Pass& pass, const Embeddings& embeddings) {
  const Leaf& segment = (embeddings.segment ? *embeddings.segment : embeddings.word).table;
  const at::Tensor& anchor = anchor_of(
      {&embeddings.word.table, &embeddings.position.table, &segment, &embeddings.norm.weight, &embeddings.norm.bias});
  // Nothing stands in front of them, but autograd wants a tensor there.
  return Joined<EmbeddedTokens>::apply(anchor, anchor, c10::make_intrusive<EmbeddedTokens>(pass, embeddings));
}

at::Tensor attend(const Half& half, const Attention& attention, const at::Tensor& x, bool summary_only) {
  const auto& [qkv, output, heads, causal, p] = attention;
  const at::Tensor& anchor =
      anchor_of({&qkv.weight, &qkv.bias, &output.weight, &output.bias, &half.norm.weight, &half.norm.bias});
  if (!summary_only)
    return Joined<AttentionHalf>::apply(x, anchor, c10::make_intrusive<AttentionHalf>(half, attention, x));
  return Joined<SummaryAttentionHalf>::apply(x, anchor, c10::make_intrusive<SummaryAttentionHalf>(half, attention, x));
}

at::Tensor cross_attend(const Half& half, const CrossAttention& attention, const at::Tensor& x,
                        const at::Tensor& encoded, bool summary_only) {
  const auto& [query, key_value, output, heads, p] = attention;
  const at::Tensor& anchor = anchor_of({&query.weight, &query.bias, &key_value.weight, &key_value.bias, &output.weight,
                                        &output.bias, &half.norm.weight, &half.norm.bias});
  return JoinedCross::apply(x, encoded, anchor,
                            c10::make_intrusive<CrossAttentionHalf>(half, attention, x, encoded, summary_only));
}

at::Tensor attend_relative(const Half& half, const RelativeAttention& attention, const at::Tensor& x,
                           const at::Tensor& distances, bool summary_only) {
  const auto& [qkv, relative, output, content_bias, position_bias, segment_bias, segment, heads, p] = attention;
  const at::Tensor& anchor = anchor_of({&qkv, &relative, &output, &content_bias, &position_bias, &segment_bias,
                                        &segment, &half.norm.weight, &half.norm.bias});
  return Joined<RelativeAttentionHalf>::apply(
      x, anchor, c10::make_intrusive<RelativeAttentionHalf>(half, attention, x, distances, summary_only));
}

at::Tensor feed_forward(const Half& half, const FeedForward& network, const at::Tensor& x, bool summary_only) {
  const auto& [intermediate, output, activation, p] = network;
  const at::Tensor& anchor = anchor_of(
      {&intermediate.weight, &intermediate.bias, &output.weight, &output.bias, &half.norm.weight, &half.norm.bias});
  return Joined<FeedForwardHalf>::apply(x, anchor,
                                        c10::make_intrusive<FeedForwardHalf>(half, network, x, summary_only));
}

void read(const Pass& pass, const Head& head, const at::Tensor& x, Model::Output& output) {
  const auto end = c10::make_intrusive<HeadEnd>(pass, head, x);
  const at::Tensor& anchor = anchor_of({&head.dense.weight, &head.dense.bias, &head.output.weight, &head.output.bias});
  const at::Tensor loss = Joined<HeadEnd>::apply(x, anchor, end);
  output.logits = end->logits;
  output.pooled = end->pooled;
  if (pass.batch.labels.defined()) output.loss = loss;
}

}  // namespace steadytune::fused
