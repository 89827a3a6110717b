#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <napi.h>
#include <torch/headeronly/version.h>

#include <memory>
#include <string>

#include "core/block_cache.h"
#include "core/cuda_library.h"
#include "kernels/instruction_set.h"
#include "napi/alone.h"
#include "napi/convert.h"
#include "napi/failure.h"
#include "napi/session.h"

namespace steadytune {
namespace {

struct AddonData {
  Napi::FunctionReference session;
};

Napi::Value info(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return guarded(env, [&] {
    Napi::Object record = Napi::Object::New(env);
    record.Set("version", STEADYTUNE_VERSION);
    record.Set("builtForTorch", TORCH_VERSION);
    record.Set("instructionSet", kernels::instruction_set());
    Napi::Array gpus = Napi::Array::New(env);
    for (const SteadytuneCudaDevice& device : cuda_devices()) {
      Napi::Object gpu = Napi::Object::New(env);
      gpu.Set("name", device.name);
      gpu.Set("capability", std::to_string(device.major) + "." + std::to_string(device.minor));
      gpu.Set("multiprocessors", device.multiprocessors);
      gpu.Set("memoryBytes", static_cast<double>(device.memory_bytes));
      gpus.Set(gpus.Length(), gpu);
    }
    record.Set("gpus", gpus);
    record.Set("torchConfig", at::show_config());
    return record;
  });
}

Napi::Value open_cuda_files(const Napi::CallbackInfo& call) {
  return guarded(call.Env(), [&] {
    const Napi::Object files = convert::object_from_js(call[0], "record of CUDA libraries");
    open_cuda(convert::string_from_js(files, "libtorch"), convert::string_from_js(files, "kernels"));
    return call.Env().Undefined();
  });
}

Napi::Value create_session(const Napi::CallbackInfo& call) {
  return call.Env().GetInstanceData<AddonData>()->session.New({call[0], call[1]});
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  auto data = std::make_unique<AddonData>();
  data->session = Napi::Persistent(Session::define(env));
  env.SetInstanceData(data.release());
  BlockCache::install();
  exports.Set("info", Napi::Function::New<info>(env, "info"));
  exports.Set("openCuda", Napi::Function::New<open_cuda_files>(env, "openCuda"));
  exports.Set("createSession", Napi::Function::New<create_session>(env, "createSession"));
  exports.Set("adamw", Napi::Function::New<alone::adamw>(env, "adamw"));
  exports.Set("mixout", Napi::Function::New<alone::mixout>(env, "mixout"));
  return exports;
}

}  // namespace
}  // namespace steadytune

static Napi::Object initialize_addon(Napi::Env env, Napi::Object exports) {
  return steadytune::initialize(env, exports);
}

NODE_API_MODULE(steadytune, initialize_addon)
