#include "core/cuda_library.h"

#include <dlfcn.h>

#include <mutex>

#include "core/error.h"

namespace steadytune {
namespace {

std::mutex mutex;
const SteadytuneCudaTable* opened = nullptr;

constexpr const char* build_hint = "run `npm run build:cuda`, or use --device cpu";

void* open_library(const std::string& path, const char* hint) {
  // Never unloaded, like libtorch itself: its operators stay registered.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    const char* reason = dlerror();
    throw Error("ERR_CUDA_KERNELS", path + " does not load: " + (reason ? reason : "the loader does not say why"),
                hint);
  }
  return handle;
}

}  // namespace

void open_cuda(const std::string& libtorch_cuda, const std::string& kernels) {
  const std::lock_guard lock(mutex);
  if (opened != nullptr) return;
  open_library(libtorch_cuda, "this libtorch is not complete; unset LIBTORCH and run `npm run setup`");
  void* library = open_library(kernels, build_hint);
  using Entry = decltype(&steadytune_cuda_table);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "steadytune_cuda_table"));
  if (entry == nullptr) {
    throw Error("ERR_CUDA_KERNELS", kernels + " is no library of steadytune's CUDA kernels", build_hint);
  }
  opened = entry(steadytune_cuda_table_version);
  if (opened == nullptr) {
    throw Error("ERR_CUDA_KERNELS", kernels + " was built for another version of steadytune", build_hint);
  }
}

bool cuda_is_open() {
  const std::lock_guard lock(mutex);
  return opened != nullptr;
}

const SteadytuneCudaTable& cuda_table() {
  const std::lock_guard lock(mutex);
  if (opened == nullptr) throw Error("ERR_CUDA_KERNELS", "the CUDA kernels are not loaded", build_hint);
  return *opened;
}

std::vector<SteadytuneCudaDevice> cuda_devices() {
  std::vector<SteadytuneCudaDevice> devices;
  if (!cuda_is_open()) return devices;
  const SteadytuneCudaTable& table = cuda_table();
  devices.resize(static_cast<size_t>(table.device_count()));
  for (size_t i = 0; i < devices.size(); ++i) check_cuda(table.describe(static_cast<int32_t>(i), &devices[i]));
  return devices;
}

void check_cuda(const char* told) {
  if (told == nullptr) return;
  const std::string message = told;
  if (message.find("out of memory") != std::string::npos) {
    throw Error("ERR_OUT_OF_MEMORY", "the GPU ran out of memory: " + message, "use a smaller batch or model");
  }
  throw Error("ERR_INTERNAL", "CUDA failed: " + message);
}

}  // namespace steadytune
