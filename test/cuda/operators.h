#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string>
#include <tuple>
#include <type_traits>

#include "../core/expect.h"
#include "../core/reference.h"
#include "core/operators.h"

/// One operator on the CPU, and by its CUDA kernels: on the GPU, or in the emulator, where they work on tensors of the
/// CPU. Tensors of the tests lie on the CPU.
namespace kernels {

/// emulator_set_order of the emulator; null on the GPU.
using SetOrder = void (*)(bool ascending);
extern SetOrder set_order;

inline bool same(const at::Tensor& a, const at::Tensor& b) { return reference::same_bits(a, b); }

template <typename... Tensors>
bool same(const std::tuple<Tensors...>& a, const std::tuple<Tensors...>& b) {
  const auto pairs = [&]<size_t... i>(std::index_sequence<i...>) {
    return (same(std::get<i>(a), std::get<i>(b)) && ...);
  };
  return pairs(std::index_sequence_for<Tensors...>{});
}

/// Arguments on the GPU, and what was changed there or comes from there on the CPU.
template <typename Value>
Value to_gpu(const Value& value) {
  return value;
}
/// With the strides of the original, and as far from a boundary: kernels load whole vectors where they may.
inline at::Tensor to_gpu(const at::Tensor& tensor) {
  if (!tensor.is_contiguous()) return tensor.to(at::kCUDA, tensor.scalar_type(), false, true);
  const int64_t offset = tensor.storage_offset();
  const at::Tensor place = at::empty({offset + tensor.numel()}, tensor.options().device(at::kCUDA));
  return place.narrow(0, offset, tensor.numel()).view(tensor.sizes()).copy_(tensor);
}
inline std::optional<at::Tensor> to_gpu(const std::optional<at::Tensor>& tensor) {
  return tensor.has_value() ? std::optional<at::Tensor>(to_gpu(*tensor)) : std::nullopt;
}
template <typename Value>
void copy_back(const Value&, const Value&) {}
inline void copy_back(const at::Tensor& original, const at::Tensor& moved) { original.copy_(moved); }
inline void copy_back(const std::optional<at::Tensor>& original, const std::optional<at::Tensor>& moved) {
  if (original.has_value()) original->copy_(*moved);
}
inline at::Tensor to_cpu(const at::Tensor& tensor) { return tensor.cpu(); }
template <typename... Tensors>
std::tuple<Tensors...> to_cpu(const std::tuple<Tensors...>& tensors) {
  return std::apply([](const auto&... each) { return std::tuple<Tensors...>(to_cpu(each)...); }, tensors);
}

template <typename Signature>
class Operator;

template <typename Result, typename... Arguments>
class Operator<Result(Arguments...)> {
 public:
  explicit Operator(const char* name) : name_(name) {}

  Result cpu(Arguments... arguments) const { return run(c10::DispatchKey::CPU, arguments...); }

  /// Once: for operators that work in place.
  Result cuda_once(bool ascending, Arguments... arguments) const {
    if (set_order != nullptr) {
      set_order(ascending);
      return run(c10::DispatchKey::CUDA, arguments...);
    }
    std::tuple<std::decay_t<Arguments>...> moved(to_gpu(arguments)...);
    const auto work = [&](auto&... each) {
      if constexpr (std::is_void_v<Result>) {
        run(c10::DispatchKey::CUDA, each...);
        (copy_back(arguments, each), ...);
      } else {
        Result result = to_cpu(run(c10::DispatchKey::CUDA, each...));
        // Some write to an argument as well: gradients of tables.
        (copy_back(arguments, each), ...);
        return result;
      }
    };
    return std::apply(work, moved);
  }

  /// In both orders of the emulator, which must agree in every bit: else threads race. On the GPU twice as well.
  Result cuda(Arguments... arguments) const {
    Result first = cuda_once(true, arguments...);
    Result second = cuda_once(false, arguments...);
    EXPECT(same(first, second), "the order of threads decides");
    return first;
  }

 private:
  Result run(c10::DispatchKey key, Arguments... arguments) const {
    return c10::Dispatcher::singleton()
        .findSchemaOrThrow((std::string("steadytune::") + name_).c_str(), "")
        .typed<Result(Arguments...)>()
        .redispatch(c10::DispatchKeySet(key), arguments...);
  }

  const char* name_;
};

using steadytune::operators::Counter;

inline const Operator<decltype(steadytune::operators::dropout)> dropout("dropout");
inline const Operator<decltype(steadytune::operators::bias_activation)> bias_activation("bias_activation");
inline const Operator<decltype(steadytune::operators::bias_activation_backward)> bias_activation_backward(
    "bias_activation_backward");
inline const Operator<decltype(steadytune::operators::head_loss)> head_loss("head_loss");
inline const Operator<decltype(steadytune::operators::head_loss_backward)> head_loss_backward("head_loss_backward");
inline const Operator<decltype(steadytune::operators::dropout_add_norm)> dropout_add_norm("dropout_add_norm");
inline const Operator<decltype(steadytune::operators::dropout_add_norm_backward)> dropout_add_norm_backward(
    "dropout_add_norm_backward");
inline const Operator<decltype(steadytune::operators::packed_attention)> packed_attention("packed_attention");
inline const Operator<decltype(steadytune::operators::packed_attention_backward)> packed_attention_backward(
    "packed_attention_backward");
inline const Operator<decltype(steadytune::operators::cross_attention)> cross_attention("cross_attention");
inline const Operator<decltype(steadytune::operators::cross_attention_backward)> cross_attention_backward(
    "cross_attention_backward");
inline const Operator<decltype(steadytune::operators::relative_attention)> relative_attention("relative_attention");
inline const Operator<decltype(steadytune::operators::relative_attention_backward)> relative_attention_backward(
    "relative_attention_backward");
inline const Operator<decltype(steadytune::operators::summary_attention)> summary_attention("summary_attention");
inline const Operator<decltype(steadytune::operators::summary_attention_backward)> summary_attention_backward(
    "summary_attention_backward");
inline const Operator<decltype(steadytune::operators::embed)> embed("embed");
inline const Operator<decltype(steadytune::operators::embed_backward)> embed_backward("embed_backward");
inline const Operator<decltype(steadytune::operators::mixout)> mixout("mixout");
inline const Operator<decltype(steadytune::operators::mixout_backward)> mixout_backward("mixout_backward");
inline const Operator<decltype(steadytune::operators::squared_norm)> squared_norm("squared_norm");
inline const Operator<decltype(steadytune::operators::segment_squared_distance)> segment_squared_distance(
    "segment_squared_distance");
inline const Operator<void(at::Tensor&, double, int64_t, int64_t, int64_t, int64_t)> normal_("normal_");
inline const Operator<void(at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&, const std::optional<at::Tensor>&,
                           const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, double, double,
                           double, double, bool, int64_t, double, const std::optional<at::Tensor>&)>
    adamw_("adamw_");
inline const Operator<void(at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&, const std::optional<at::Tensor>&,
                           const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                           const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&, double, double, double,
                           bool, double, const std::optional<at::Tensor>&)>
    adamw_scheduled_("adamw_scheduled_");

/// |actual - expected| beside |expected|, largest element of each, in float64; NaN where a NaN is in one alone.
inline double difference(const at::Tensor& actual, const at::Tensor& expected) {
  if (expected.numel() == 0) return 0.0;
  const at::Tensor distance = (actual.to(at::kDouble) - expected.to(at::kDouble)).abs().max();
  return distance.item<double>() / (expected.to(at::kDouble).abs().max().item<double>() + 1e-30);
}

/// What two orders of the same float32 operations may differ by, with one rounding to `dtype` behind them.
inline double tolerance(at::ScalarType dtype) { return dtype == at::kFloat ? 2e-6 : 8e-3; }

/// The same zeros in both: what a dropout mask leaves to see.
inline bool same_zeros(const at::Tensor& a, const at::Tensor& b) { return at::equal(a.eq(0), b.eq(0)); }

/// A copy that begins one element behind a boundary of 16 bytes, so that no whole vector can be loaded.
inline at::Tensor misaligned(const at::Tensor& tensor) {
  at::Tensor place = at::empty({tensor.numel() + 1}, tensor.options()).narrow(0, 1, tensor.numel());
  return place.copy_(tensor.flatten()).view(tensor.sizes());
}

}  // namespace kernels
