#include <functional>
#include <map>
#include <optional>

#include "core/error.h"
#include "expect.h"
#include "tiny_model.h"

// The promise: the gradients that training applies are those of the loss, dropout masks included. The loss is evaluated
// here a second time, in float64 and by plain operators, and differentiated by central differences.

namespace {

using namespace steadytune;

using Parameters = std::map<std::string, at::Tensor>;

/// BERT's forward pass in float64 under the masks of one step.
class DoubleBert {
 public:
  DoubleBert(const EncoderShape& shape, const PackedBatch& batch, const std::vector<int32_t>& lengths, int64_t seed,
             int64_t step)
      : shape_(shape), batch_(batch), lengths_(lengths), seed_(seed), step_(step) {
    embedding_mask_ = token_mask(shape.hidden_dropout, 0, Site::embeddings, shape.hidden_size);
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      attention_masks_.push_back(token_mask(shape.hidden_dropout, layer, Site::attention_output, shape.hidden_size));
      ffn_masks_.push_back(token_mask(shape.hidden_dropout, layer, Site::ffn_output, shape.hidden_size));
    }
    classifier_mask_ = reference::token_mask(draw(shape.classifier_dropout, 0), Site::classifier, batch.row_numbers,
                                             batch.row_zeros, shape.hidden_size);
  }

  double loss(const Parameters& p) const {
    const auto at_name = [&](const std::string& name) -> const at::Tensor& { return p.at(name); };
    const auto linear = [&](const at::Tensor& x, const std::string& name) {
      return at::linear(x, at_name(name + ".weight"), at_name(name + ".bias"));
    };
    const auto norm = [&](const at::Tensor& x, const std::string& name) {
      return at::layer_norm(x, {x.size(1)}, at_name(name + ".weight"), at_name(name + ".bias"), shape_.layer_norm_eps);
    };
    at::Tensor x = at_name("embeddings.word.weight").index_select(0, batch_.token_ids) +
                   at_name("embeddings.segment.weight").index_select(0, batch_.segment_ids) +
                   at_name("embeddings.position.weight").index_select(0, batch_.positions);
    x = norm(x, "embeddings.norm") * embedding_mask_;
    for (int64_t layer = 0; layer < shape_.layers; ++layer) {
      const std::string block = "blocks." + std::to_string(layer) + ".";
      const at::Tensor qkv = at::cat({linear(x, block + "attention.query"), linear(x, block + "attention.key"),
                                      linear(x, block + "attention.value")},
                                     1);
      const at::Tensor context =
          reference::attention(qkv, lengths_, row_numbers(), shape_.heads, false, draw(shape_.attention_dropout, layer),
                               Site::attention_probabilities);
      x = norm(x + linear(context, block + "attention.output") * attention_masks_[layer], block + "attention.norm");
      const at::Tensor wide = at::gelu(linear(x, block + "ffn.intermediate"));
      x = norm(x + linear(wide, block + "ffn.output") * ffn_masks_[layer], block + "ffn.norm");
    }
    const at::Tensor pooled = at::tanh(linear(x.index_select(0, batch_.summary_tokens), "pooler"));
    const at::Tensor logits = linear(pooled * classifier_mask_, "classifier");
    const at::Tensor loss = shape_.problem == Problem::classification
                                ? at::cross_entropy_loss(logits, batch_.labels)
                                : at::mse_loss(logits.squeeze(1), batch_.labels.to(at::kDouble));
    return loss.item<double>();
  }

 private:
  reference::Dropout draw(double p, int64_t layer) const { return {p, seed_, layer, step_}; }

  at::Tensor token_mask(double p, int64_t layer, Site site, int64_t columns) const {
    return reference::token_mask(draw(p, layer), site, batch_.token_rows, batch_.positions, columns);
  }

  std::vector<int32_t> row_numbers() const {
    const int32_t* numbers = batch_.row_numbers.const_data_ptr<int32_t>();
    return {numbers, numbers + batch_.rows()};
  }

  const EncoderShape& shape_;
  const PackedBatch& batch_;
  std::vector<int32_t> lengths_;
  int64_t seed_;
  int64_t step_;
  at::Tensor embedding_mask_;
  std::vector<at::Tensor> attention_masks_;
  std::vector<at::Tensor> ffn_masks_;
  at::Tensor classifier_mask_;
};

/// dLoss / d element by central differences.
double slope(const DoubleBert& model, const Parameters& parameters, const std::string& name, int64_t element) {
  constexpr double step = 1e-4;  // the error of the difference is about step^2, that of the loss 1e-15 / step
  double* value = parameters.at(name).mutable_data_ptr<double>() + element;
  const double before = *value;
  *value = before + step;
  const double above = model.loss(parameters);
  *value = before - step;
  const double below = model.loss(parameters);
  *value = before;
  return (above - below) / (2 * step);
}

void check_gradients(Problem problem) {
  EncoderShape shape = tiny::shape(Family::bert, problem);
  // In float32, LayerNorm's own eps would be lost beside variances of order 1.
  shape.layer_norm_eps = 1e-3;
  const std::vector<int32_t> lengths{4, 1, 6};
  const steadytune::BatchRows rows = tiny::batch(shape, lengths, 1);
  const PackedBatch batch = pack(rows, shape);
  const StepOptions step = [] {
    StepOptions options = tiny::step(5);
    options.learning_rate = 0;
    return options;
  }();
  const auto engine = tiny::engine(shape, Form::fused);
  Parameters parameters;
  for (const ParameterInfo& parameter : engine->parameters()) {
    parameters[parameter.name] = engine->read_parameter(parameter.name).to(at::kDouble);
  }
  const StepResult result = engine->train({rows}, step, tiny::go).get();
  const DoubleBert model(shape, batch, lengths, step.order_seed, step.step);
  const double loss = model.loss(parameters);
  EXPECT_AT_MOST(std::abs(result.loss - loss), 2e-6 * std::abs(loss));

  constexpr int64_t most = 8;
  for (const auto& parameter : engine->parameters()) {
    const at::Tensor gradient = engine->read_gradient(parameter.name).flatten();
    // The largest ones, so that rounding is small beside each, spread by nothing but the values themselves.
    const int64_t count = std::min(most, gradient.numel());
    const at::Tensor chosen = std::get<1>(gradient.abs().topk(count));
    at::Tensor expected = at::empty({count}, at::kDouble);
    for (int64_t i = 0; i < count; ++i) {
      expected[i] = slope(model, parameters, parameter.name, chosen[i].item<int64_t>());
    }
    const at::Tensor actual = gradient.index_select(0, chosen).to(at::kDouble);
    const double difference = (actual - expected).norm().item<double>();
    // A key's bias has a true gradient of zero, so there the size of the others is what rounding is beside: each
    // instruction set adds up in an order of its own, and AVX2's is the farthest off, by 1.2e-8 of it.
    const double size = std::max(expected.norm().item<double>(), 2e-3 * result.grad_norm);
    EXPECT_AT_MOST(difference, 1e-5 * size);
  }
}

}  // namespace

TEST("gradients under dropout are the slopes of a loss evaluated in float64: classification") {
  check_gradients(Problem::classification);
}

TEST("gradients under dropout are the slopes of a loss evaluated in float64: regression") {
  check_gradients(Problem::regression);
}
