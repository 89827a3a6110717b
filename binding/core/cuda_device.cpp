#include "core/cuda_device.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

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

/// All graphs of a session, good ones and failed ones, from the first to the last that is in use: they are dropped
/// together.
class GraphPool {
 public:
  GraphPool() : id_(cuda_table().new_pool()) {}
  GraphPool(const GraphPool&) = delete;
  GraphPool& operator=(const GraphPool&) = delete;
  ~GraphPool() {
    for (SteadytuneCudaGraph* graph : graphs_) cuda_table().drop_graph(graph);
  }

  /// Throws what the work throws, or what CUDA makes of it.
  SteadytuneCudaGraph* record(const std::function<void()>& work) {
    SteadytuneCudaGraph* graph = nullptr;
    graphs_.reserve(graphs_.size() + 1);
    check_cuda(cuda_table().begin_recording(id_, &graph));
    graphs_.push_back(graph);
    try {
      work();
    } catch (...) {
      // Ended all the same: until then the stream records. That what is recorded holds a mistake is known already.
      static_cast<void>(cuda_table().end_recording(graph));
      throw;
    }
    check_cuda(cuda_table().end_recording(graph));
    return graph;
  }

 private:
  SteadytuneCudaPool id_;
  std::vector<SteadytuneCudaGraph*> graphs_;
};

class CudaRecording : public Recording {
 public:
  CudaRecording(SteadytuneCudaGraph* graph, std::shared_ptr<GraphPool> pool) : graph_(graph), pool_(std::move(pool)) {}

  void replay() override { check_cuda(cuda_table().replay(graph_)); }

 private:
  SteadytuneCudaGraph* graph_;
  std::shared_ptr<GraphPool> pool_;
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
  explicit Cuda(c10::Device device) : device_(device), compute_(device), copies_(device) {
    set_precision();
    const c10::impl::VirtualGuardImpl thread(at::kCUDA);
    thread.setDevice(device_);
    thread.exchangeStream(compute_.stream());
  }

  Cuda(const Cuda&) = delete;
  Cuda& operator=(const Cuda&) = delete;
  /// The tensors are gone; what they took of the device is for other sessions and processes now.
  ~Cuda() override { release_cache(); }

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
    std::shared_ptr<GraphPool> pool = pool_.lock();
    if (!pool) pool_ = pool = std::make_shared<GraphPool>();
    SteadytuneCudaGraph* graph = pool->record(work);
    return std::make_unique<CudaRecording>(graph, std::move(pool));
  }

  void release_cache() override {
    const char* error = cuda_table().release_cache();
    if (error != nullptr) TORCH_WARN("steadytune: memory that nothing uses stays with this process: ", error);
  }

  int64_t peak_bytes() const override {
    const auto stats = c10::getDeviceAllocator(at::kCUDA)->getDeviceStats(device_.index());
    return stats.reserved_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  }

 private:
  c10::Device device_;
  OwnStream compute_;
  OwnStream copies_;
  std::weak_ptr<GraphPool> pool_;
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
