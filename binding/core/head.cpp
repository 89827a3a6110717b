#include "core/head.h"

namespace steadytune {
namespace {

const char* dense_name(const EncoderShape& shape) { return shape.switches().pooler ? "pooler" : "classifier.dense"; }

const char* output_name(const EncoderShape& shape) {
  return shape.switches().pooler ? "classifier" : "classifier.output";
}

}  // namespace

void Head::list(ParameterList& list, const EncoderShape& shape) {
  const Role dense_role = shape.switches().pooler ? Role::pooler : Role::classifier;
  list.linear(dense_name(shape), shape.hidden_size, shape.hidden_size, dense_role);
  list.linear(output_name(shape), shape.outputs, shape.hidden_size, Role::classifier);
}

Head::Head(Leaves& leaves, const EncoderShape& shape)
    : shape_(shape), dense_(leaves, dense_name(shape)), output_(leaves, output_name(shape)) {}

void Head::read(const Pass& pass, const at::Tensor& x, Model::Output& output) const {
  const FamilySwitches& switches = shape_.switches();
  const PackedBatch& batch = pass.batch;
  at::Tensor summary = x.index_select(0, switches.summary_last ? batch.last_tokens : batch.first_tokens).to(at::kFloat);
  if (shape_.family == Family::xlnet) {
    // Its last hidden states are dropped as a whole, before the summary.
    summary = drop_rows(pass, summary, shape_.hidden_dropout, Site::classifier_input);
  } else if (switches.head_input_dropout) {
    summary = drop_rows(pass, summary, shape_.classifier_dropout, Site::classifier_input);
  }
  output.pooled = activate(switches.head_activation, dense_(summary));
  output.logits = output_(drop_rows(pass, output.pooled, shape_.classifier_dropout, Site::classifier));
}

}  // namespace steadytune
