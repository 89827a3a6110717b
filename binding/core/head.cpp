#include "core/head.h"

#include "core/fused.h"

namespace steadytune {
namespace {

const char* dense_name(const EncoderShape& shape) { return shape.switches().pooler ? "pooler" : "classifier.dense"; }

const char* output_name(const EncoderShape& shape) {
  return shape.switches().pooler ? "classifier" : "classifier.output";
}

/// Dropout before the dense layer. XLNet drops its last hidden states as a whole, before the summary.
double input_dropout(const EncoderShape& shape) {
  if (shape.family == Family::xlnet) return shape.hidden_dropout;
  return shape.switches().head_input_dropout ? shape.classifier_dropout : 0;
}

}  // namespace

void Head::list(ParameterList& list, const EncoderShape& shape) {
  const Role dense_role = shape.switches().pooler ? Role::pooler : Role::classifier;
  list.linear(dense_name(shape), shape.hidden_size, shape.hidden_size, dense_role);
  list.linear(output_name(shape), shape.outputs, shape.hidden_size, Role::classifier);
}

Head::Head(Leaves& leaves, const EncoderShape& shape)
    : shape_(shape), dense_(leaves, dense_name(shape)), output_(leaves, output_name(shape)) {}

at::Tensor Head::summed_loss(const at::Tensor& logits, const at::Tensor& labels) const {
  if (shape_.problem == Problem::classification) {
    return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum);
  }
  return at::mse_loss(logits.squeeze(1), labels, at::Reduction::Sum);
}

void Head::read(const Pass& pass, const at::Tensor& x, bool summary_only, Model::Output& output) const {
  const at::Tensor summary = summary_only ? x : x.index_select(0, pass.batch.summary_tokens);
  const Activation activation = shape_.switches().head_activation;
  if (pass.form == Form::fused) {
    fused::read(pass, {dense_, output_, activation, input_dropout(shape_), shape_.classifier_dropout}, summary, output);
    return;
  }
  const at::Tensor kept = drop_rows(pass, summary.to(at::kFloat), input_dropout(shape_), Site::classifier_input);
  const at::Tensor activated = activate(activation, dense_(pass, kept));
  output.pooled = drop_rows(pass, activated, shape_.classifier_dropout, Site::classifier);
  output.logits = output_(pass, output.pooled);
  if (pass.batch.labels.defined()) output.loss = summed_loss(output.logits, pass.batch.labels);
}

}  // namespace steadytune
