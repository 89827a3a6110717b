#pragma once

#include <ATen/record_function.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace steadytune {

/// All calls of one operator with one set of shapes.
struct OperatorTime {
  std::string name;
  /// Of the tensors among the arguments, in their order.
  std::vector<std::vector<int64_t>> shapes;
  /// Of the first of them.
  std::string dtype;
  int64_t calls = 0;
  double seconds = 0;
  /// Additions and multiplications of matrix products and attention; 0 where an operator has none or none are known.
  double flop = 0;
  /// What the operator cannot help moving: each argument read once, each result written once, views nothing, lookups
  /// and the optimizer only the rows and segments that they touch.
  double bytes = 0;
};

/// Time by operator, seen through libtorch's own record of every dispatched call. Nobody pays for it while no Scope
/// stands. Calls inside an operator count as that operator's; what the profile itself takes counts as nobody's.
class OperatorProfile {
 public:
  struct Result {
    std::vector<OperatorTime> operators;
    /// Of everything done under a Scope, operators or not.
    double seconds = 0;
  };

  /// Observes the calls that this thread makes until it ends.
  class Scope {
   public:
    explicit Scope(OperatorProfile& profile);
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope();

   private:
    OperatorProfile& profile_;
    at::CallbackHandle callback_;
    std::chrono::steady_clock::time_point begin_;
  };

  /// What was seen since this was called last.
  Result take();

 private:
  using Clock = std::chrono::steady_clock;
  using Key = std::pair<std::string, std::vector<std::vector<int64_t>>>;

  /// A call that has not returned.
  struct Call {
    OperatorTime operation;
    /// Whether flop and bytes stand, whatever is called inside or comes back.
    bool flop_known = false;
    bool bytes_known = false;
    std::vector<const void*> read;
    std::vector<const void*> written;
    double flop_inside = 0;
    double bytes_inside = 0;
    double own_seconds_before = 0;
    Clock::time_point begin;
  };

  void enter(const at::RecordFunction& function);
  void leave(const at::RecordFunction& function);

  std::vector<Call> calls_;
  std::map<Key, OperatorTime> operators_;
  double seconds_ = 0;
  /// Spent in this class itself.
  double own_seconds_ = 0;
};

}  // namespace steadytune
