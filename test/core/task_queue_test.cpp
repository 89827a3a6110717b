#include "napi/task_queue.h"

#include <future>
#include <string>

#include "expect.h"

using steadytune::TaskQueue;

TEST("a queue is idle between tasks until nothing is left to do") {
  std::string order;
  int left = 0;
  std::promise<void> done;
  TaskQueue queue([&] {
    if (left == 0) return false;
    order += 'i';
    if (--left == 0) done.set_value();
    return left > 0;
  });
  std::promise<void> go;
  queue.push({.run = [&] { go.get_future().wait(); }, .cancel = [] {}});
  for (const char name : {'a', 'b'}) {
    queue.push({.run =
                    [&, name] {
                      order += name;
                      ++left;
                    },
                .cancel = [] {}});
  }
  go.set_value();
  done.get_future().wait();
  queue.stop();
  // Tasks that wait come first: what is left over is for when none does.
  EXPECT(order == "abii");
}

TEST("a queue does what is left before it stops") {
  int left = 0;
  TaskQueue queue([&] { return left > 0 && --left > 0; });
  std::promise<void> begun;
  queue.push({.run =
                  [&] {
                    left = 3;
                    begun.set_value();
                  },
              .cancel = [] {}});
  begun.get_future().wait();
  queue.stop();
  EXPECT(left == 0);
}
