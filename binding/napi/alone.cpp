#include "napi/alone.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "core/adamw_alone.h"
#include "core/mixout_alone.h"
#include "napi/convert.h"
#include "napi/failure.h"

namespace steadytune::alone {
namespace {

Napi::Float32Array array_of(Napi::Env env, const std::vector<float>& values) {
  Napi::Float32Array array = Napi::Float32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

class Worker : public Napi::AsyncWorker {
 public:
  Worker(Napi::Env env, const char* name)
      : Napi::AsyncWorker(env, name), deferred_(Napi::Promise::Deferred::New(env)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  /// On the pool: nothing of JavaScript may be touched.
  virtual void compute() = 0;
  virtual Napi::Value result(Napi::Env env) = 0;

 private:
  void Execute() final {
    try {
      compute();
    } catch (...) {
      failure_ = Failure::of(std::current_exception());
    }
  }

  void OnOK() final {
    if (failure_) {
      deferred_.Reject(failure_->to_js(Env()).Value());
      return;
    }
    // Taking memory for the answer can fail as well; the promise must settle then too.
    try {
      deferred_.Resolve(result(Env()));
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    }
  }

  Napi::Promise::Deferred deferred_;
  std::optional<Failure> failure_;
};

template <typename Work>
Napi::Value start(const Napi::CallbackInfo& call) {
  return guarded(call.Env(), [&] {
    auto worker = std::make_unique<Work>(call);
    const Napi::Promise promise = worker->promise();
    // Node deletes the worker when it is done.
    worker.release()->Queue();
    return promise;
  });
}

class AdamwWorker final : public Worker {
 public:
  explicit AdamwWorker(const Napi::CallbackInfo& call) : Worker(call.Env(), "steadytune adamw") {
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

 private:
  void compute() override { after_ = adamw_alone(values_, gradients_, options_); }

  Napi::Value result(Napi::Env env) override {
    Napi::Array list = Napi::Array::New(env, after_.size());
    for (uint32_t i = 0; i < after_.size(); ++i) list.Set(i, array_of(env, after_[i]));
    return list;
  }

  std::vector<float> values_;
  std::vector<std::vector<float>> gradients_;
  AdamwOptions options_{};
  std::vector<std::vector<float>> after_;
};

class MixoutWorker final : public Worker {
 public:
  explicit MixoutWorker(const Napi::CallbackInfo& call) : Worker(call.Env(), "steadytune mixout") {
    const Napi::Object layer = convert::object_from_js(call[0], "layer");
    const auto floats = [&](const char* key) { return convert::floats_from_js(layer.Get(key), key); };
    layer_ = {.inputs = convert::integer_from_js(layer, "inputs"),
              .outputs = convert::integer_from_js(layer, "outputs"),
              .x = floats("x"),
              .weight = floats("weight"),
              .target = floats("target"),
              .bias = floats("bias"),
              .mask = floats("mask"),
              .grad_output = floats("gradOutput")};
    mixout_ = convert::mixout_from_js(call[1]);
  }

 private:
  void compute() override { result_ = mixout_alone(layer_, mixout_); }

  Napi::Value result(Napi::Env env) override {
    Napi::Object record = Napi::Object::New(env);
    record.Set("output", array_of(env, result_.output));
    record.Set("gradX", array_of(env, result_.grad_x));
    record.Set("gradWeight", array_of(env, result_.grad_weight));
    record.Set("gradBias", array_of(env, result_.grad_bias));
    return record;
  }

  MixedLinear layer_{};
  Mixout mixout_{};
  MixedLinearResult result_;
};

}  // namespace

Napi::Value adamw(const Napi::CallbackInfo& call) { return start<AdamwWorker>(call); }

Napi::Value mixout(const Napi::CallbackInfo& call) { return start<MixoutWorker>(call); }

}  // namespace steadytune::alone
