#include "core/head.h"

namespace steadytune {
namespace {

const char* dense_name(const EncoderShape& shape) { return shape.switches().pooler ? "pooler" : "classifier.dense"; }

const char* output_name(const EncoderShape& shape) {
  return shape.switches().pooler ? "classifier" : "classifier.output";
}

at::Tensor activate_dense(HeadActivation activation, const at::Tensor& x) {
  switch (activation) {
    case HeadActivation::tanh:
      return at::tanh(x);
    case HeadActivation::gelu:
      return at::gelu(x);
    case HeadActivation::relu:
      return at::relu(x);
  }
  throw Error("ERR_INTERNAL", "a head's activation is none of those known");
}

}  // namespace

void Head::list(ParameterList& list, const EncoderShape& shape) {
  const Role dense_role = shape.switches().pooler ? Role::pooler : Role::classifier;
  list.linear(dense_name(shape), shape.hidden_size, shape.hidden_size, dense_role);
  list.linear(output_name(shape), shape.outputs, shape.hidden_size, Role::classifier);
}

Head::Head(Leaves& leaves, const EncoderShape& shape)
    : shape_(shape), dense_(leaves, dense_name(shape)), output_(leaves, output_name(shape)) {}

void Head::read(const Pass& pass, const at::Tensor& x, bool summary_only, Model::Output& output) const {
  const FamilySwitches& switches = shape_.switches();
  at::Tensor summary = (summary_only ? x : x.index_select(0, pass.batch.summary_tokens)).to(at::kFloat);
  if (shape_.family == Family::xlnet) {
    // Its last hidden states are dropped as a whole, before the summary.
    summary = drop_rows(pass, summary, shape_.hidden_dropout, Site::classifier_input);
  } else if (switches.head_input_dropout) {
    summary = drop_rows(pass, summary, shape_.classifier_dropout, Site::classifier_input);
  }
  output.pooled = activate_dense(switches.head_activation, dense_(pass, summary));
  output.logits = output_(pass, drop_rows(pass, output.pooled, shape_.classifier_dropout, Site::classifier));
}

}  // namespace steadytune
