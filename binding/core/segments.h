#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "core/arena.h"
#include "core/parameter.h"
#include "core/touched_rows.h"

namespace steadytune {

/// The arena cut into pieces that one optimizer step treats alike: what the operators over the arena read.
struct Segments {
  at::Tensor bounds;    // int64 [S, 2]: first element and one past the last
  at::Tensor settings;  // float32 [S, 2]: lrScale, weightDecay
  at::Tensor flags;     // int32 [S]: see kernels/adamw.h
  /// Words that were touched when they were cut, and the gradients that stood in bfloat16.
  int64_t words = 0;
  std::vector<size_t> half_spans = {};
};

/// One segment per parameter, or per joined ones with a gradient in bfloat16 (`half_spans`, see Leaves); where
/// untouched words stand still, one per touched word in the place of their table. On the CPU.
Segments cut_segments(const Arena& arena, const std::vector<ParameterPlan>& plan, const TouchedRows& words,
                      std::vector<size_t> half_spans);

/// The most segments that a plan can have: all words touched.
int64_t most_segments(const std::vector<ParameterPlan>& plan, const TouchedRows& words);

/// True where words are trained and nothing moves one that no batch has touched: not decay either, unless it pulls to
/// where the word is.
bool untouched_stand_still(const ParameterPlan& words);

}  // namespace steadytune
