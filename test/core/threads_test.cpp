#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "expect.h"
#include "napi/core_budget.h"
#include "napi/task_queue.h"

// The session's queue, its abort and its share of the cores over an engine that only counts. Made for ThreadSanitizer
// (scripts/sanitize.mjs): the engine's numbers are plain integers, so a second thread near them is a race that it sees.

namespace {

using steadytune::CoreBudget;
using steadytune::TaskQueue;

/// In the place of core/engine.h: work in blocks, between which a flag ends it.
struct StubEngine {
  int64_t steps = 0;
  int64_t blocks = 0;

  /// False where it was stopped.
  bool train(const std::atomic<bool>& stop, int64_t count) {
    for (int64_t block = 0; block < count; ++block) {
      if (stop.load(std::memory_order_relaxed)) return false;
      ++blocks;
    }
    ++steps;
    return true;
  }
};

/// As napi/session.cpp joins the parts: an engine that the queue's thread alone touches, results handed back by
/// counters, disposal by flag and cancellation.
class StubSession {
 public:
  explicit StubSession(CoreBudget& cores, int threads) : cores_(cores), threads_(threads) {
    queue_.push({.run = [this] { engine_ = std::make_unique<StubEngine>(); }, .cancel = nullptr});
  }
  ~StubSession() { dispose(); }

  void train(int64_t blocks) {
    queue_.push({.run =
                     [this, blocks] {
                       const CoreBudget::Share share(cores_, threads_);
                       (engine_ && engine_->train(stop_, blocks) ? done : stopped).fetch_add(1);
                     },
                 .cancel = [this] { cancelled.fetch_add(1); }});
  }

  void abort() { queue_.cancel_pending(); }

  void dispose() {
    stop_ = true;
    queue_.push({.run = [this] { engine_.reset(); }, .cancel = [] {}});
    queue_.stop();
    engine_.reset();
  }

  int64_t settled() const { return done + stopped + cancelled; }

  std::atomic<int64_t> done{0};
  std::atomic<int64_t> stopped{0};
  std::atomic<int64_t> cancelled{0};

 private:
  CoreBudget& cores_;
  int threads_;
  std::atomic<bool> stop_{false};
  std::unique_ptr<StubEngine> engine_;
  TaskQueue queue_;
};

template <typename Condition>
void wait_until(const Condition& condition) {
  while (!condition()) std::this_thread::yield();
}

}  // namespace

TEST("tasks run on one thread, in the order in which they were pushed") {
  std::vector<int> order;
  std::vector<std::thread::id> threads;
  {
    TaskQueue queue;
    std::atomic<bool> last{false};
    for (int task = 0; task < 100; ++task) {
      queue.push({.run =
                      [&, task] {
                        order.push_back(task);
                        threads.push_back(std::this_thread::get_id());
                        if (task == 99) last = true;
                      },
                  .cancel = [] {}});
    }
    wait_until([&] { return last.load(); });
  }
  for (int task = 0; task < 100; ++task) EXPECT_EQUAL(order.at(task), task);
  for (const auto& thread : threads) EXPECT(thread == threads.front() && thread != std::this_thread::get_id());
}

TEST("every call settles once, whichever of abort, dispose and the work itself is first") {
  CoreBudget cores(2);
  for (int round = 0; round < 50; ++round) {
    constexpr int64_t calls = 20;
    StubSession session(cores, 1);
    for (int64_t call = 0; call < calls; ++call) session.train(200);
    if (round % 3 == 0) wait_until([&] { return session.done > 2; });
    session.abort();
    session.train(1 + round % 200);
    session.dispose();
    EXPECT_EQUAL(session.settled(), calls + 1);
  }
}

TEST("after an abort the session goes on, were it the first thing that happened to it") {
  CoreBudget cores(2);
  StubSession session(cores, 2);
  for (int call = 0; call < 5; ++call) session.train(1000);
  session.abort();
  const int64_t before = session.done;
  session.train(10);
  wait_until([&] { return session.settled() == 6; });
  EXPECT(session.done >= before && session.done >= 1);
  EXPECT_EQUAL(session.stopped.load(), 0);
}

TEST("disposal ends a step that would never end") {
  CoreBudget cores(1);
  StubSession session(cores, 1);
  session.train(int64_t{1} << 60);
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  session.dispose();
  EXPECT_EQUAL(session.done.load(), 0);
  EXPECT_EQUAL(session.settled(), 1);
}

TEST("abort and dispose from another thread than that which pushes") {
  CoreBudget cores(2);
  for (int round = 0; round < 30; ++round) {
    TaskQueue queue;
    std::atomic<int64_t> settled{0};
    std::atomic<bool> begun{false};
    std::thread aborter([&] {
      wait_until([&] { return begun.load(); });
      queue.cancel_pending();
    });
    constexpr int64_t calls = 50;
    for (int64_t call = 0; call < calls; ++call) {
      queue.push({.run = [&] { settled.fetch_add(1); }, .cancel = [&] { settled.fetch_add(1); }});
      begun = true;
    }
    aborter.join();
    queue.stop();
    EXPECT_EQUAL(settled.load(), calls);
  }
}

TEST("sessions side by side never work with more threads than there are cores, and every one has its turn") {
  constexpr int cores_of_machine = 4;
  CoreBudget cores(cores_of_machine);
  std::atomic<int> busy{0};
  std::atomic<int> most{0};
  std::vector<std::thread> sessions;
  // One wants more than there is, and takes all.
  for (const int threads : {1, 1, 2, 3, 4, 9}) {
    sessions.emplace_back([&, threads] {
      const int held = std::min(threads, cores_of_machine);
      for (int step = 0; step < 200; ++step) {
        const CoreBudget::Share share(cores, threads);
        const int now = busy.fetch_add(held) + held;
        int seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) continue;
        std::this_thread::yield();
        busy.fetch_sub(held);
      }
    });
  }
  for (std::thread& session : sessions) session.join();
  EXPECT_AT_MOST(most.load(), cores_of_machine);
  EXPECT_EQUAL(busy.load(), 0);
}

TEST("sessions that fit beside each other work at the same time") {
  CoreBudget cores(2);
  const CoreBudget::Share first(cores, 1);
  std::atomic<bool> entered{false};
  std::thread other([&] {
    const CoreBudget::Share second(cores, 1);
    entered = true;
  });
  // Would hang here if they took turns.
  wait_until([&] { return entered.load(); });
  other.join();
}

TEST("a session that wants all cores is not passed by small ones for ever") {
  CoreBudget cores(2);
  std::atomic<bool> large_done{false};
  std::atomic<int> small_steps{0};
  std::vector<std::thread> small;
  for (int session = 0; session < 2; ++session) {
    small.emplace_back([&] {
      while (!large_done) {
        const CoreBudget::Share share(cores, 1);
        small_steps.fetch_add(1);
        std::this_thread::yield();
      }
    });
  }
  wait_until([&] { return small_steps.load() > 10; });
  {
    const CoreBudget::Share all(cores, 2);
    large_done = true;
  }
  for (std::thread& session : small) session.join();
}
