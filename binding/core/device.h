#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace steadytune {

/// A place in a device's queue of work.
class Mark {
 public:
  virtual ~Mark() = default;
  /// All work that was queued before it is done. Throws what that work failed with.
  virtual bool reached() const = 0;
  /// Waits for it.
  void wait() const;
};

/// Work that was queued once and can be queued again in one call: the same kernels on the same memory.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};

/// What an engine needs of the place that it computes on, beyond tensors that lie there. A device runs what is queued
/// in order and later; the CPU has run everything when a call returns, so most of this is nothing there. Used from the
/// thread that made it.
class Device {
 public:
  /// kCPU or kCUDA. A CUDA device makes a stream of its own the thread's current one. Throws ERR_CUDA_KERNELS where
  /// there is no usable GPU.
  static std::unique_ptr<Device> make(c10::DeviceType type);

  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  virtual c10::Device place() const = 0;
  bool is_cpu() const { return place().is_cpu(); }

  /// Host memory that the device copies from and to by itself, uninitialized. It may be let go of while a copy that was
  /// queued with `non_blocking` still runs.
  virtual at::Tensor host_tensor(at::IntArrayRef sizes, at::ScalarType dtype) const = 0;

  virtual std::unique_ptr<Mark> mark() const = 0;

  /// Queues a copy into `target`, contiguous and of the same bytes, beside the work at hand: it starts when
  /// `free` is reached, and what is queued behind this call finds it done. `staged` is a host_tensor.
  virtual void upload(const at::Tensor& target, const at::Tensor& staged, const Mark& free) = 0;

  /// Whether `record` can be called, and so whether steps get filler (core/bucket.h).
  virtual bool records() const = 0;
  /// Keeps what the work queues, for replays, and runs none of it. What the work throws passes through.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) = 0;

  /// Gives memory that libtorch keeps for later back to the device. Where that fails there is a warning and no more: it
  /// is called on the way out of other failures.
  virtual void release_cache() = 0;

  /// Most memory of the device that libtorch has taken for this process, in bytes; 0 on the CPU.
  virtual int64_t peak_bytes() const = 0;
};

}  // namespace steadytune
