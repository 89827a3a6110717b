#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace steadytune {

/// One thread that runs tasks in the order in which they were pushed. Knows neither libtorch nor JavaScript, so that
/// it can be tested alone under ThreadSanitizer.
class TaskQueue {
 public:
  struct Task {
    std::function<void()> run;
    /// Called in the place of `run`, on the thread that cancels. A task without it is not cancelled, and runs unless
    /// the queue stops before.
    std::function<void()> cancel;
  };

  /// `idle` is called on the thread while no task waits, until it answers false: it has nothing left to do. Another
  /// task may come between two calls, and it is called again after that one.
  explicit TaskQueue(std::function<bool()> idle = [] { return false; })
      : idle_(std::move(idle)), thread_([this] { work(); }) {}
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;
  ~TaskQueue() { stop(); }

  void push(Task task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

  /// Cancels what has not begun; the task at work goes on.
  void cancel_pending() {
    std::deque<Task> pending;
    {
      const std::lock_guard lock(mutex_);
      pending.swap(tasks_);
      for (Task& task : pending) {
        if (!task.cancel) tasks_.push_back(task);
      }
    }
    for (Task& task : pending) {
      if (task.cancel) task.cancel();
    }
  }

  /// Cancels what has not begun, waits for the task at work and ends the thread. Safe to call twice.
  void stop() {
    std::deque<Task> pending;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      pending.swap(tasks_);
    }
    for (Task& task : pending) {
      if (task.cancel) task.cancel();
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void work() {
    bool more = false;
    while (true) {
      std::optional<Task> task;
      {
        std::unique_lock lock(mutex_);
        if (!more) changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
        if (!tasks_.empty()) {
          task = std::move(tasks_.front());
          tasks_.pop_front();
        } else if (!more) {
          return;
        }
      }
      if (task) {
        task->run();
        more = true;
      } else {
        more = idle_();
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool stopping_ = false;
  std::function<bool()> idle_;
  // Last, so that the thread starts when all it uses stands.
  std::thread thread_;
};

}  // namespace steadytune
