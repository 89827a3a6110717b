#pragma once

#include <ATen/ATen.h>

#include <string>

#include "core/leaves.h"
#include "core/pass.h"
#include "kernels/activation.h"
#include "kernels/philox.h"

/// The small parts that models are put together from, written with plain ATen operators: the reference that faster
/// engines are compared with. Every token-wise tensor is [T, width]; no padding exists.
namespace steadytune {

/// y = x W^T + b; W [out, in] is cast to the dtype of x.
struct Linear {
  const Leaf& weight;
  const Leaf& bias;

  /// `count` parameters that lie back to back count as one.
  Linear(Leaves& leaves, const std::string& name, size_t count = 1)
      : weight(leaves.add(name + ".weight", count)), bias(leaves.add(name + ".bias", count)) {}

  at::Tensor operator()(const Pass& pass, const at::Tensor& x) const;
};

/// The weight that a pass multiplies with, by autograd: mixed where the plan says so, in `dtype`.
at::Tensor weight_of(const Pass& pass, const Leaf& leaf, at::ScalarType dtype);

/// LayerNorm over the last axis; weight and bias stay float32.
struct Norm {
  const Leaf& weight;
  const Leaf& bias;
  double eps;

  Norm(Leaves& leaves, const std::string& name, double epsilon)
      : weight(leaves.add(name + ".weight")), bias(leaves.add(name + ".bias")), eps(epsilon) {}

  at::Tensor operator()(const at::Tensor& x) const;
};

/// A table of rows that are looked up by id.
struct Embedding {
  const Leaf& table;

  Embedding(Leaves& leaves, const std::string& name) : table(leaves.add(name + ".weight")) {}

  /// `ids` int32 [T]; float32 [T, width].
  at::Tensor operator()(const at::Tensor& ids) const;
};

at::Tensor activate(Activation activation, const at::Tensor& x);

/// Dropout of a token-wise tensor [T, width] of this pass.
at::Tensor drop_tokens(const Pass& pass, const at::Tensor& x, double p, int64_t layer, Site site);

/// Dropout of a tensor with one line per row of the batch, [B, width].
at::Tensor drop_rows(const Pass& pass, const at::Tensor& x, double p, Site site);

}  // namespace steadytune
