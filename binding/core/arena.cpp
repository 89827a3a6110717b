#include "core/arena.h"

#include "core/error.h"
#include "core/zero_pages.h"

namespace steadytune {
namespace {

constexpr int64_t alignment = 256 / sizeof(float);

at::Tensor zeros_on(c10::Device device, int64_t elements, at::ScalarType dtype) {
  if (device.is_cpu()) return zero_pages(elements, dtype);
  return at::zeros({elements}, at::TensorOptions(dtype).device(device));
}

int64_t buffer_bytes(const at::Tensor& buffer) { return buffer.defined() ? static_cast<int64_t>(buffer.nbytes()) : 0; }

}  // namespace

Arena::Arena(std::vector<ParameterInfo> parameters, at::ScalarType compute, c10::Device device)
    : parameters_(std::move(parameters)) {
  const auto count = static_cast<int64_t>(parameters_.size());
  const at::Tensor host_bounds = at::empty({count, 2}, at::kLong);
  auto bounds = host_bounds.accessor<int64_t, 2>();
  for (int64_t i = 0; i < count; ++i) {
    const ParameterInfo& parameter = parameters_[i];
    if (!parameter.joined) elements_ = (elements_ + alignment - 1) / alignment * alignment;
    offsets_.push_back(elements_);
    bounds[i][0] = elements_;
    elements_ += parameter.elements();
    bounds[i][1] = elements_;
    index_.emplace(parameter.name, static_cast<size_t>(i));
  }
  bounds_ = host_bounds.to(device);
  values_ = zeros_on(device, elements_, at::kFloat);
  if (compute != at::kFloat) compute_ = zeros_on(device, elements_, compute);
}

void Arena::refresh_compute() {
  if (compute_.defined() && compute_is_stale_) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (parameters_[i].role == Role::embedding) continue;
      view(compute_, i).copy_(view(values_, i));
    }
  }
  compute_is_stale_ = false;
}

size_t Arena::index_of(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) throw Error("ERR_INTERNAL", "the model has no parameter '" + name + "'");
  return found->second;
}

at::Tensor Arena::view(const at::Tensor& buffer, size_t index) const {
  const ParameterInfo& parameter = parameters_[index];
  return buffer.narrow(0, offsets_[index], parameter.elements()).view(parameter.shape);
}

at::Tensor Arena::joined_view(const at::Tensor& buffer, size_t index, size_t count) const {
  std::vector<int64_t> shape = parameters_[index].shape;
  shape[0] *= static_cast<int64_t>(count);
  return buffer.narrow(0, offsets_[index], parameters_[index].elements() * static_cast<int64_t>(count)).view(shape);
}

void Arena::allocate_gradients() {
  if (!gradients_.defined()) gradients_ = zeros_on(values_.device(), elements_, at::kFloat);
}

void Arena::allocate_moments() {
  if (moment1_.defined()) return;
  moment1_ = zeros_on(values_.device(), elements_, at::kFloat);
  moment2_ = zeros_on(values_.device(), elements_, at::kFloat);
}

void Arena::allocate_start() {
  if (!start_.defined()) start_ = zeros_on(values_.device(), elements_, at::kFloat);
}

void Arena::keep_start() {
  allocate_start();
  start_.copy_(values_);
}

void Arena::drop_start() { start_.reset(); }

int64_t Arena::bytes() const {
  return buffer_bytes(values_) + buffer_bytes(compute_) + buffer_bytes(gradients_) + buffer_bytes(moment1_) +
         buffer_bytes(moment2_) + buffer_bytes(start_);
}

}  // namespace steadytune
