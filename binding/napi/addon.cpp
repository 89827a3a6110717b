#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <napi.h>
#include <torch/headeronly/version.h>

#include <memory>

#include "core/block_cache.h"
#include "kernels/instruction_set.h"
#include "napi/alone.h"
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
    record.Set("cuda", at::hasCUDA());
    record.Set("torchConfig", at::show_config());
    return record;
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
