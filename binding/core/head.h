#pragma once

#include <ATen/ATen.h>

#include "core/encoder_shape.h"
#include "core/layers.h"
#include "core/model.h"
#include "core/parameter_list.h"

namespace steadytune {

/// From the summary token of each row to logits and their loss; float32 in both compute dtypes, as it sees one token
/// per row.
class Head {
 public:
  static void list(ParameterList& list, const EncoderShape& shape);
  Head(Leaves& leaves, const EncoderShape& shape);

  /// x is the last block's output, [T, hidden] or, of the summary tokens alone, [B, hidden]. Sets all of the output but
  /// its hidden states.
  void read(const Pass& pass, const at::Tensor& x, bool summary_only, Model::Output& output) const;

 private:
  /// Sum over the batch's rows; the caller divides by the rows of the whole step, so that cutting a step into parts
  /// changes nothing but rounding.
  at::Tensor summed_loss(const at::Tensor& logits, const at::Tensor& labels) const;

  const EncoderShape& shape_;
  Linear dense_;
  Linear output_;
};

}  // namespace steadytune
