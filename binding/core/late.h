#pragma once

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "core/device.h"

namespace steadytune {

/// A result that a device may still be at work on.
template <typename Result>
class Late {
 public:
  /// One that is there.
  Late(Result result) : read_([result = std::move(result)] { return result; }) {}
  /// `read` is called once the device has reached the mark.
  Late(std::unique_ptr<Mark> done, std::function<Result()> read) : done_(std::move(done)), read_(std::move(read)) {}

  /// What `change` makes of it, no sooner.
  template <typename Change>
  auto then(Change change) && {
    using Changed = std::invoke_result_t<Change, const Result&>;
    return Late<Changed>(std::move(done_),
                         [read = std::move(read_), change = std::move(change)]() -> Changed { return change(read()); });
  }

  bool ready() const { return !done_ || done_->reached(); }

  /// Waits for the device.
  Result get() const {
    if (done_) done_->wait();
    return read_();
  }

 private:
  std::unique_ptr<Mark> done_;
  std::function<Result()> read_;
};

}  // namespace steadytune
