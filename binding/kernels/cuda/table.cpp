#include "kernels/cuda/table.h"

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

struct SteadytuneCudaGraph {
  /// Held while it records. Two recordings at once would share libtorch's default generator, which refuses that.
  std::unique_lock<std::mutex> recording;
  c10::DeviceIndex device;
  c10::MempoolId_t pool;
  at::cuda::CUDAGraph graph;
};

namespace {

/// Calls body; what it throws is turned into the string that tells of it.
template <typename Body>
const char* told(const Body& body) {
  thread_local std::string message;
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  } catch (const std::exception& error) {
    message = error.what();
  }
  return message.c_str();
}

int32_t device_count() { return c10::cuda::device_count(); }

const char* describe(int32_t device, SteadytuneCudaDevice* description) {
  return told([&] {
    cudaDeviceProp properties{};
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    std::snprintf(description->name, sizeof(description->name), "%s", properties.name);
    description->major = properties.major;
    description->minor = properties.minor;
    description->multiprocessors = properties.multiProcessorCount;
    description->memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  });
}

std::mutex streams_mutex;
std::map<int32_t, std::vector<int64_t>> idle_streams;

const char* take_stream(int32_t device, int64_t* id) {
  return told([&] {
    const std::lock_guard lock(streams_mutex);
    std::vector<int64_t>& idle = idle_streams[device];
    if (!idle.empty()) {
      *id = idle.back();
      idle.pop_back();
      return;
    }
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    cudaStream_t stream = nullptr;
    // The legacy default stream would wait for it, and every copy from pageable memory with that.
    C10_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    *id = c10::cuda::getStreamFromExternal(stream, static_cast<c10::DeviceIndex>(device)).id();
  });
}

void give_stream(int32_t device, int64_t id) {
  const std::lock_guard lock(streams_mutex);
  idle_streams[device].push_back(id);
}

SteadytuneCudaPool new_pool() {
  const auto [first, second] = at::cuda::graph_pool_handle();
  return {first, second};
}

std::mutex recording_mutex;

const char* begin_recording(SteadytuneCudaPool pool, SteadytuneCudaGraph** graph) {
  return told([&] {
    auto made = std::make_unique<SteadytuneCudaGraph>();
    made->recording = std::unique_lock(recording_mutex);
    made->device = c10::cuda::current_device();
    made->pool = {pool.first, pool.second};
    // Other sessions go on meanwhile: they may allocate and synchronize, which a global recording would forbid them.
    made->graph.capture_begin(made->pool, cudaStreamCaptureModeThreadLocal);
    *graph = made.release();
  });
}

/// Ends the recording. Where CUDA refuses, libtorch's allocators would go on as if it lasted: they route memory into
/// its pool and free none of it.
void end_capture(SteadytuneCudaGraph& graph) {
  try {
    graph.graph.capture_end();
  } catch (...) {
    told([&] {
      c10::cuda::CUDACachingAllocator::endAllocateToPool(graph.device, graph.pool);
      c10::cuda::CUDACachingAllocator::releasePool(graph.device, graph.pool);
    });
    told([&] {
      at::getHostAllocator(at::kCUDA)->end_allocate_to_pool(graph.pool);
      at::getHostAllocator(at::kCUDA)->release_pool(graph.pool);
    });
    // The error stays behind as the thread's last one.
    static_cast<void>(cudaGetLastError());
    throw;
  }
}

const char* end_recording(SteadytuneCudaGraph* graph) {
  const char* error = told([&] { end_capture(*graph); });
  graph->recording.unlock();
  return error;
}

void drop_graph(SteadytuneCudaGraph* graph) {
  told([&] {
    // Up to libtorch 2.13 a graph signs off from the generator that another one is using while it records.
    const std::lock_guard lock(recording_mutex);
    delete graph;
  });
}

const char* replay(SteadytuneCudaGraph* graph) {
  return told([&] { graph->graph.replay(); });
}

const char* release_cache() {
  return told([] {
    const std::lock_guard lock(recording_mutex);
    c10::cuda::CUDACachingAllocator::emptyCache();
  });
}

constexpr SteadytuneCudaTable table = {
    .device_count = device_count,
    .describe = describe,
    .take_stream = take_stream,
    .give_stream = give_stream,
    .new_pool = new_pool,
    .begin_recording = begin_recording,
    .end_recording = end_recording,
    .replay = replay,
    .drop_graph = drop_graph,
    .release_cache = release_cache,
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const SteadytuneCudaTable* steadytune_cuda_table(int32_t version) {
  return version == steadytune_cuda_table_version ? &table : nullptr;
}
