#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <napi.h>
#include <torch/headeronly/version.h>

#include <memory>
#include <utility>
#include <vector>

#include "core/adamw_alone.h"
#include "kernels/instruction_set.h"
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
    record.Set("cuda", at::hasCUDA());
    record.Set("torchConfig", at::show_config());
    return record;
  });
}

Napi::Value create_session(const Napi::CallbackInfo& call) {
  return call.Env().GetInstanceData<AddonData>()->session.New({call[0], call[1]});
}

/// `adamw` of src/native/types.ts, on libuv's pool.
class AdamwWorker : public Napi::AsyncWorker {
 public:
  AdamwWorker(const Napi::CallbackInfo& call)
      : Napi::AsyncWorker(call.Env(), "steadytune adamw"), deferred_(Napi::Promise::Deferred::New(call.Env())) {
    values_ = convert::floats_from_js(call[0], "values");
    if (!call[1].IsArray()) throw Napi::TypeError::New(call.Env(), "gradients must be an array");
    const auto gradients = call[1].As<Napi::Array>();
    for (uint32_t i = 0; i < gradients.Length(); ++i) {
      gradients_.push_back(convert::floats_from_js(gradients.Get(i), "gradient"));
    }
    const Napi::Object options = convert::object_from_js(call[2], "options");
    const Napi::Object betas = convert::object_from_js(options.Get("betas"), "betas");
    options_ = {.learning_rate = convert::number_from_js(options, "learningRate"),
                .beta1 = convert::number_from_js(betas, "0"),
                .beta2 = convert::number_from_js(betas, "1"),
                .eps = convert::number_from_js(options, "eps"),
                .bias_correction = convert::boolean_from_js(options, "biasCorrection"),
                .weight_decay = convert::number_from_js(options, "weightDecay")};
  }

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    try {
      after_ = adamw_alone(values_, gradients_, options_);
    } catch (...) {
      failure_ = Failure::of(std::current_exception());
    }
  }

  void OnOK() override {
    if (failure_) {
      deferred_.Reject(failure_->to_js(Env()).Value());
      return;
    }
    Napi::Array list = Napi::Array::New(Env(), after_.size());
    for (uint32_t i = 0; i < after_.size(); ++i) {
      Napi::Float32Array values = Napi::Float32Array::New(Env(), after_[i].size());
      std::copy(after_[i].begin(), after_[i].end(), values.Data());
      list.Set(i, values);
    }
    deferred_.Resolve(list);
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::vector<float> values_;
  std::vector<std::vector<float>> gradients_;
  AdamwOptions options_{};
  std::vector<std::vector<float>> after_;
  std::optional<Failure> failure_;
};

Napi::Value adamw(const Napi::CallbackInfo& call) {
  return guarded(call.Env(), [&] {
    auto worker = std::make_unique<AdamwWorker>(call);
    const Napi::Promise promise = worker->promise();
    // Node deletes the worker when it is done.
    worker.release()->Queue();
    return promise;
  });
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  auto data = std::make_unique<AddonData>();
  data->session = Napi::Persistent(Session::define(env));
  env.SetInstanceData(data.release());
  exports.Set("info", Napi::Function::New<info>(env, "info"));
  exports.Set("createSession", Napi::Function::New<create_session>(env, "createSession"));
  exports.Set("adamw", Napi::Function::New<adamw>(env, "adamw"));
  return exports;
}

}  // namespace
}  // namespace steadytune

static Napi::Object initialize_addon(Napi::Env env, Napi::Object exports) {
  return steadytune::initialize(env, exports);
}

NODE_API_MODULE(steadytune, initialize_addon)
