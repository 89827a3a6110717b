#pragma once

#include <ATen/record_function.h>

#include <functional>
#include <memory>
#include <utility>

/// While it lives, every operator that this thread calls through libtorch's dispatcher, inside another operator or not,
/// is shown to `begun` with its arguments, and to `returned` with its results.
class DispatchedCalls {
 public:
  using Show = std::function<void(const at::RecordFunction&)>;

  DispatchedCalls(Show begun, Show returned) : begun_(std::move(begun)), returned_(std::move(returned)) {
    watching = this;
    const auto start = [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
      show(&DispatchedCalls::begun_, function);
      return nullptr;
    };
    const auto end = [](const at::RecordFunction& function, at::ObserverContext*) {
      show(&DispatchedCalls::returned_, function);
    };
    callback_ = at::addThreadLocalCallback(at::RecordFunctionCallback(start, end)
                                               .needsInputs(true)
                                               .needsOutputs(true)
                                               .scopes({at::RecordScope::FUNCTION}));
  }
  explicit DispatchedCalls(Show returned) : DispatchedCalls([](const at::RecordFunction&) {}, std::move(returned)) {}
  DispatchedCalls(const DispatchedCalls&) = delete;
  DispatchedCalls& operator=(const DispatchedCalls&) = delete;
  ~DispatchedCalls() {
    at::removeCallback(callback_);
    watching = nullptr;
  }

 private:
  /// Threads that libtorch starts have no watcher, and what is called from here is not shown.
  static void show(Show DispatchedCalls::* to, const at::RecordFunction& function) {
    if (watching == nullptr || !function.operator_name()) return;
    DispatchedCalls* const watcher = std::exchange(watching, nullptr);
    (watcher->*to)(function);
    watching = watcher;
  }

  static inline thread_local DispatchedCalls* watching = nullptr;

  Show begun_;
  Show returned_;
  at::CallbackHandle callback_;
};
