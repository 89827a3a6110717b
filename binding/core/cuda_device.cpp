#include "core/cuda_device.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <exception>
#include <mutex>
#include <utility>

#include "core/cuda_library.h"
#include "core/error.h"

namespace steadytune {
namespace {

class CudaMark : public Mark {
 public:
  explicit CudaMark(const c10::Stream& stream) : event_(at::kCUDA) { event_.record(stream); }

  bool reached() const override { return event_.query(); }
  void hold_back(const c10::Stream& stream) const { event_.block(stream); }

 private:
  c10::Event event_;
};

class CudaRecording : public Recording {
 public:
  explicit CudaRecording(SteadytuneCudaGraph* graph) : graph_(graph) {}
  CudaRecording(const CudaRecording&) = delete;
  CudaRecording& operator=(const CudaRecording&) = delete;
  ~CudaRecording() override { cuda_table().drop_graph(graph_); }

  void replay() override { check_cuda(cuda_table().replay(graph_)); }

 private:
  SteadytuneCudaGraph* graph_;
};

/// A stream of this object's own, which goes back when the object ends.
class OwnStream {
 public:
  explicit OwnStream(c10::Device device) : device_(device) {
    check_cuda(cuda_table().take_stream(device.index(), &id_));
  }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  ~OwnStream() { cuda_table().give_stream(device_.index(), id_); }

  c10::Stream stream() const { return c10::Stream(c10::Stream::UNSAFE, device_, id_); }

 private:
  c10::Device device_;
  int64_t id_ = 0;
};

/// What float32 and bfloat16 mean in matrix products, whatever the environment asks of libtorch.
void set_precision() {
  static std::once_flag once;
  std::call_once(once, [] {
    at::globalContext().setAllowTF32CuBLAS(false);
    // Sums of a product that is cut along its inner dimension stay float32.
    at::globalContext().setAllowBF16ReductionCuBLAS(false);
  });
}

class Cuda : public Device {
 public:
  explicit Cuda(c10::Device device)
      : device_(device), compute_(device), copies_(device), pool_(cuda_table().new_pool()) {
    set_precision();
    const c10::impl::VirtualGuardImpl thread(at::kCUDA);
    thread.setDevice(device_);
    thread.exchangeStream(compute_.stream());
  }

  Cuda(const Cuda&) = delete;
  Cuda& operator=(const Cuda&) = delete;
  /// The tensors are gone; what they took of the device is for other sessions and processes now.
  ~Cuda() override {
    try {
      release_cache();
    } catch (const std::exception& error) {
      TORCH_WARN("steadytune: a session's memory stays with this process: ", error.what());
    }
  }

  c10::Device place() const override { return device_; }

  at::Tensor host_tensor(at::IntArrayRef sizes, at::ScalarType dtype) const override {
    return at::empty(sizes, at::TensorOptions(dtype).pinned_memory(true));
  }

  std::unique_ptr<Mark> mark() const override { return std::make_unique<CudaMark>(compute_.stream()); }

  void upload(const at::Tensor& target, const at::Tensor& staged, const Mark& free) override {
    static_cast<const CudaMark&>(free).hold_back(copies_.stream());
    {
      const c10::StreamGuard copying(copies_.stream());
      target.copy_(staged, /*non_blocking=*/true);
    }
    CudaMark(copies_.stream()).hold_back(compute_.stream());
  }

  bool records() const override { return true; }
  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    SteadytuneCudaGraph* graph = nullptr;
    check_cuda(cuda_table().begin_recording(pool_, &graph));
    try {
      work();
    } catch (...) {
      cuda_table().abandon_recording(graph);
      throw;
    }
    check_cuda(cuda_table().end_recording(graph));
    return std::make_unique<CudaRecording>(graph);
  }

  void release_cache() override { c10::getDeviceAllocator(at::kCUDA)->emptyCache(); }

  int64_t peak_bytes() const override {
    const auto stats = c10::getDeviceAllocator(at::kCUDA)->getDeviceStats(device_.index());
    return stats.reserved_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  }

 private:
  c10::Device device_;
  OwnStream compute_;
  OwnStream copies_;
  SteadytuneCudaPool pool_;
};

}  // namespace

std::unique_ptr<Device> make_cuda_device() {
  if (cuda_table().device_count() < 1) {
    throw Error(
        "ERR_CUDA_KERNELS", "CUDA finds no GPU that it can use",
        "see that `nvidia-smi` lists one, that CUDA_VISIBLE_DEVICES does not hide it and that the driver is new "
        "enough for this libtorch; or use --device cpu");
  }
  return std::make_unique<Cuda>(c10::Device(at::kCUDA, 0));
}

}  // namespace steadytune
