#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace steadytune {

/// Shares the machine's cores among sessions that work at the same time. A session's number of threads is fixed, since
/// its bits depend on it, so where two want more threads than there are cores they take turns, task by task, rather
/// than crowd each other; smaller ones run side by side. Turns go in the order of asking, so that nobody waits for
/// long. Like TaskQueue it knows neither libtorch nor JavaScript.
class CoreBudget {
 public:
  explicit CoreBudget(int cores) : cores_(cores), free_(cores) {}
  CoreBudget(const CoreBudget&) = delete;
  CoreBudget& operator=(const CoreBudget&) = delete;

  /// Cores held for a while. One who holds a share must not ask for another.
  class Share {
   public:
    /// Waits until `threads` cores are free, or all of them where `threads` is more.
    Share(CoreBudget& budget, int threads) : budget_(budget), count_(std::clamp(threads, 1, budget.cores_)) {
      budget_.take(count_);
    }
    ~Share() { budget_.give_back(count_); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

   private:
    CoreBudget& budget_;
    int count_;
  };

 private:
  void take(int count) {
    std::unique_lock lock(mutex_);
    const uint64_t ticket = next_ticket_++;
    changed_.wait(lock, [&] { return ticket == serving_ && free_ >= count; });
    free_ -= count;
    ++serving_;
    // The next in line may find enough for itself.
    changed_.notify_all();
  }

  void give_back(int count) {
    {
      const std::lock_guard lock(mutex_);
      free_ += count;
    }
    changed_.notify_all();
  }

  const int cores_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int free_;
  uint64_t next_ticket_ = 0;
  uint64_t serving_ = 0;
};

}  // namespace steadytune
