#pragma once

#include <ATen/ATen.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "core/parameter.h"

namespace steadytune {

/// All parameters of one model in flat contiguous float32 buffers: values, gradients and both moments, with the start
/// values when somebody needs them, and a copy of the values in the compute dtype where that is another one (embeddings
/// excepted: they are looked up in float32). Buffers are zero pages: untouched words take no gradients or moments.
/// Segments begin on 256-byte boundaries (joined ones lie back to back), so that the optimizer, the gradient norm, a
/// snapshot and zeroing are one pass each. Gaps between segments stay zero.
class Arena {
 public:
  /// With `compute` bfloat16 a copy of all values in that dtype is kept beside them.
  explicit Arena(std::vector<ParameterInfo> parameters, at::ScalarType compute = at::kFloat,
                 c10::Device device = at::kCPU);

  const std::vector<ParameterInfo>& parameters() const { return parameters_; }
  /// Throws ERR_INTERNAL on an unknown name.
  size_t index_of(const std::string& name) const;

  /// A parameter's first element in every buffer.
  int64_t begin_of(size_t index) const { return offsets_[index]; }

  /// Views of one parameter, in its own shape.
  at::Tensor value(size_t index) const { return view(values_, index); }
  at::Tensor gradient(size_t index) const { return view(gradients_, index); }
  /// One matrix or vector over `count` joined parameters, stacked along the first axis.
  at::Tensor joined_value(size_t index, size_t count) const { return joined_view(values_, index, count); }
  at::Tensor joined_gradient(size_t index, size_t count) const { return joined_view(gradients_, index, count); }
  at::Tensor joined_compute(size_t index, size_t count) const { return joined_view(compute_, index, count); }
  at::Tensor joined_start(size_t index, size_t count) const { return joined_view(start_, index, count); }
  /// The same view, of a buffer laid out like this arena (a snapshot).
  at::Tensor view(const at::Tensor& buffer, size_t index) const;

  const at::Tensor& values() const { return values_; }
  /// The values in the compute dtype; undefined where that is float32.
  const at::Tensor& compute() const { return compute_; }
  /// To be called when values were changed by anything but the optimizer, which writes both.
  void values_changed() { compute_is_stale_ = true; }
  /// Brings the copy up to date.
  void refresh_compute();
  const at::Tensor& gradients() const { return gradients_; }
  const at::Tensor& moment1() const { return moment1_; }
  const at::Tensor& moment2() const { return moment2_; }
  /// Undefined when it is not kept.
  const at::Tensor& start() const { return start_; }
  /// int64 [parameters, 2], on the device: first element and one past the last.
  const at::Tensor& bounds() const { return bounds_; }

  /// A model that only predicts has values alone.
  void allocate_gradients();
  void allocate_moments();
  void keep_start();
  void allocate_start();
  void drop_start();

  int64_t elements() const { return elements_; }
  int64_t bytes() const;

 private:
  at::Tensor joined_view(const at::Tensor& buffer, size_t index, size_t count) const;

  std::vector<ParameterInfo> parameters_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<int64_t> offsets_;
  int64_t elements_ = 0;
  at::Tensor bounds_;
  at::Tensor values_;
  at::Tensor compute_;
  bool compute_is_stale_ = true;
  at::Tensor gradients_;
  at::Tensor moment1_;
  at::Tensor moment2_;
  at::Tensor start_;
};

}  // namespace steadytune
