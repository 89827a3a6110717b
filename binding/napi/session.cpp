#include "napi/session.h"

#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <utility>
#include <vector>

#include "core/cuda_library.h"
#include "core/error.h"
#include "core/machine_rates.h"
#include "core/physical_cores.h"
#include "napi/convert.h"
#include "napi/core_budget.h"
#include "napi/failure.h"

namespace steadytune {

struct Session::Completion {
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference keep_alive;
  Session* session;
  ToJs value;
  std::optional<Failure> failure;
};

struct Session::Unfinished {
  std::unique_ptr<Completion> completion;
  Late<ToJs> value;
};

namespace {

/// Calls in the device's queue beyond which the thread waits for the oldest: its memory is bounded by that, and a
/// device that has this much before it is never idle.
constexpr size_t most_unfinished = 8;

bool is_ready(const Late<std::function<Napi::Value(Napi::Env)>>& value) {
  try {
    return value.ready();
  } catch (...) {
    // Reading it throws the same.
    return true;
  }
}

Napi::Value undefined(Napi::Env env) { return env.Undefined(); }

/// All sessions of the process, worker threads included. Never destroyed: at exit a session may still hold a share.
CoreBudget& process_cores() {
  static CoreBudget* const budget = std::make_unique<CoreBudget>(physical_cores()).release();
  return *budget;
}

/// Fixes the number of threads that the calling thread's work is spread over.
void set_threads(int count) {
  // In each thread this library and libtorch, each for itself, take over at their first parallel work the number that
  // any thread of the process has set last. Here both have done so, and what is set afterwards stays.
  at::parallel_for(0, 1, 1, [](int64_t, int64_t) { static_cast<void>(at::get_num_threads()); });
  at::set_num_threads(count);
}

Napi::Value step_to_js(Napi::Env env, const StepResult& step) {
  Napi::Object record = Napi::Object::New(env);
  record.Set("loss", step.loss);
  record.Set("gradNorm", step.grad_norm);
  record.Set("finite", step.finite);
  return record;
}

Napi::Value forward_to_js(Napi::Env env, const ForwardResult& result) {
  Napi::Object record = Napi::Object::New(env);
  record.Set("logits", convert::floats_to_js(env, result.logits));
  record.Set("loss", result.loss ? Napi::Number::New(env, *result.loss) : Napi::Value(env.Null()));
  record.Set("hiddenStates",
             result.hidden_states ? convert::floats_to_js(env, *result.hidden_states) : Napi::Value(env.Null()));
  record.Set("pooled", result.pooled ? convert::floats_to_js(env, *result.pooled) : Napi::Value(env.Null()));
  return record;
}

}  // namespace

Napi::Function Session::define(Napi::Env env) {
  return DefineClass(env, "NativeSession",
                     {
                         InstanceAccessor<&Session::parameters>("parameters"),
                         InstanceAccessor<&Session::threads>("threads"),
                         InstanceMethod<&Session::load>("load"),
                         InstanceMethod<&Session::set_plan>("setPlan"),
                         InstanceMethod<&Session::train>("train"),
                         InstanceMethod<&Session::forward>("forward"),
                         InstanceMethod<&Session::gradients>("gradients"),
                         InstanceMethod<&Session::read_parameter>("readParameter"),
                         InstanceMethod<&Session::read_gradient>("readGradient"),
                         InstanceMethod<&Session::buffer_length>("bufferLength"),
                         InstanceMethod<&Session::read_buffer>("readBuffer"),
                         InstanceMethod<&Session::write_buffer>("writeBuffer"),
                         InstanceMethod<&Session::snapshot>("snapshot"),
                         InstanceMethod<&Session::restore>("restore"),
                         InstanceMethod<&Session::drop_snapshot>("dropSnapshot"),
                         InstanceMethod<&Session::read_snapshot>("readSnapshot"),
                         InstanceMethod<&Session::distances>("distances"),
                         InstanceMethod<&Session::profile>("profile"),
                         InstanceMethod<&Session::take_profile>("takeProfile"),
                         InstanceMethod<&Session::time_product>("timeProduct"),
                         InstanceMethod<&Session::time_copy>("timeCopy"),
                         InstanceMethod<&Session::peak_memory_bytes>("peakMemoryBytes"),
                         InstanceMethod<&Session::peak_device_memory_bytes>("peakDeviceMemoryBytes"),
                         InstanceMethod<&Session::recorded_steps>("recordedSteps"),
                         InstanceMethod<&Session::abort>("abort"),
                         InstanceMethod<&Session::dispose>("dispose"),
                     });
}

Session::Session(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Session>(info), env_(info.Env()) {
  guarded(info.Env(), [&] {
    shape_ = convert::shape_from_js(info[0]);
    const Napi::Object options = convert::object_from_js(info[1], "session's options");
    compute_ = convert::compute_dtype_from_js(options.Get("dtype"));
    form_ = convert::form_from_js(options.Get("engine"));
    device_ = convert::device_from_js(options.Get("device"));
    if (device_ != at::kCPU) static_cast<void>(cuda_table());
    const int64_t threads = convert::integer_from_js(options, "threads");
    if (threads < 0 || threads > 1024) throw Error("ERR_CONFIG", "threads must lie between 0 and 1024");
    threads_ = threads == 0 ? physical_cores() : static_cast<int>(threads);
    parameters_ = Model::parameters(shape_);
    queue_ = std::make_unique<TaskQueue>([this] { return finish_oldest(); });
  });

  const Napi::String name = Napi::String::New(env_, "steadytune session");
  NAPI_THROW_IF_FAILED_VOID(env_, napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr,
                                                                  nullptr, on_completion, &to_javascript_));
  // An idle session does not keep the process alive; a pending call does (submit).
  napi_unref_threadsafe_function(env_, to_javascript_);
  // Hooks run last in, first out: the thread has ended before Node takes the function away.
  napi_add_env_cleanup_hook(env_, on_environment_exit, this);

  queue_->push({.run =
                    [this] {
                      if (stop_) return;  // disposed before it began
                      const CoreBudget::Share cores(process_cores(), host_threads());
                      set_threads(threads_);
                      try {
                        engine_ = std::make_unique<Engine>(shape_, compute_, form_, Device::make(device_));
                        engine_bytes_ = engine_->bytes();
                      } catch (...) {
                        engine_failure_ = std::current_exception();
                      }
                    },
                // An abort before the first call leaves a session that can be used.
                .cancel = nullptr});
}

Session::~Session() {
  if (!queue_) return;
  napi_remove_env_cleanup_hook(env_, on_environment_exit, this);
  stop();
}

void Session::stop() {
  if (!to_javascript_) return;
  stop_ = true;
  queue_->push({.run = [this] { engine_.reset(); }, .cancel = [] {}});
  queue_->stop();
  // The thread is gone, so what it would have freed is freed here when its last task was cancelled.
  engine_.reset();
  Napi::MemoryManagement::AdjustExternalMemory(env_, -std::exchange(reported_bytes_, 0));
  napi_release_threadsafe_function(std::exchange(to_javascript_, nullptr), napi_tsfn_release);
}

void Session::on_environment_exit(void* session) { static_cast<Session*>(session)->stop(); }

Engine& Session::engine() {
  if (engine_failure_) std::rethrow_exception(engine_failure_);
  if (!engine_) throw Error("ERR_DISPOSED", "the session has been disposed");
  return *engine_;
}

Napi::Value Session::submit(Napi::Env env, EngineWork work, Napi::Object keep_alive) {
  return enqueue(
      env,
      [this, work = std::move(work)] {
        std::optional<OperatorProfile::Scope> scope;
        if (profile_) scope.emplace(*profile_);
        return work(engine());
      },
      keep_alive);
}

Napi::Value Session::enqueue(Napi::Env env, Work work, Napi::Object keep_alive) {
  auto completion = std::make_shared<std::unique_ptr<Completion>>(new Completion{
      Napi::Promise::Deferred::New(env), keep_alive.IsEmpty() ? Napi::ObjectReference() : Napi::Persistent(keep_alive),
      this, nullptr, std::nullopt});
  const Napi::Promise promise = (*completion)->deferred.Promise();
  if (disposed_ || !to_javascript_) {
    (*completion)
        ->deferred.Reject(
            Failure{"ERR_DISPOSED", "the session has been disposed", "make a new one"}.to_js(env).Value());
    return promise;
  }
  if (pending_++ == 0) {
    napi_ref_threadsafe_function(env, to_javascript_);
    Ref();
  }
  queue_->push({.run =
                    [this, completion, work = std::move(work)] {
                      std::optional<Late<ToJs>> value;
                      try {
                        const CoreBudget::Share cores(process_cores(), host_threads());
                        value.emplace(work());
                        engine_bytes_ = engine_ ? engine_->bytes() : 0;
                        if (engine_) {
                          peak_device_bytes_ = engine_->peak_device_bytes();
                          recorded_steps_ = engine_->recorded_steps();
                        }
                      } catch (...) {
                        value.emplace(nullptr,
                                      [error = std::current_exception()]() -> ToJs { std::rethrow_exception(error); });
                      }
                      unfinished_.push_back({std::move(*completion), std::move(*value)});
                      while (!unfinished_.empty() &&
                             (unfinished_.size() > most_unfinished || is_ready(unfinished_.front().value))) {
                        finish_oldest();
                      }
                    },
                .cancel =
                    [this, completion] {
                      (*completion)->failure = Failure{"ERR_ABORTED", "the call was aborted before it began", ""};
                      hand_back(std::move(*completion));
                    }});
  return promise;
}

/// What a session on a GPU does on the host takes one thread.
int Session::host_threads() const { return device_ == at::kCPU ? threads_ : 1; }

bool Session::finish_oldest() {
  if (unfinished_.empty()) return false;
  Unfinished oldest = std::move(unfinished_.front());
  unfinished_.pop_front();
  try {
    oldest.completion->value = oldest.value.get();
  } catch (...) {
    oldest.completion->failure = Failure::of(std::current_exception());
  }
  hand_back(std::move(oldest.completion));
  return !unfinished_.empty();
}

void Session::hand_back(std::unique_ptr<Completion> completion) {
  // Refused only while the environment closes; then nobody waits for the promise, and the reference inside belongs
  // to an environment that frees it.
  Completion* handed = completion.release();
  if (napi_call_threadsafe_function(to_javascript_, handed, napi_tsfn_nonblocking) != napi_ok) {
    handed->keep_alive.SuppressDestruct();
    delete handed;
  }
}

void Session::on_completion(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Completion> completion(static_cast<Completion*>(data));
  if (env == nullptr) {
    completion->keep_alive.SuppressDestruct();
    return;
  }
  const Napi::HandleScope scope(env);
  completion->session->settle(env, *completion);
}

void Session::settle(Napi::Env env, Completion& completion) {
  // Settling may run JavaScript that lets go of this object; the reference taken here outlives it.
  [[maybe_unused]] const Napi::Object self = Value();
  if (to_javascript_) {
    const int64_t bytes = engine_bytes_;
    Napi::MemoryManagement::AdjustExternalMemory(env, bytes - reported_bytes_);
    reported_bytes_ = bytes;
  }
  if (--pending_ == 0) {
    if (to_javascript_) napi_unref_threadsafe_function(env, to_javascript_);
    Unref();
  }
  if (completion.failure) {
    completion.deferred.Reject(completion.failure->to_js(env).Value());
    return;
  }
  try {
    completion.deferred.Resolve(completion.value(env));
  } catch (const Napi::Error& error) {
    completion.deferred.Reject(error.Value());
  }
}

Napi::Value Session::parameters(const Napi::CallbackInfo& info) {
  return convert::parameters_to_js(info.Env(), parameters_);
}

Napi::Value Session::threads(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), threads_); }

Napi::Value Session::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const Napi::Object record = convert::object_from_js(info[0], "record of tensors");
    std::vector<std::pair<std::string, StoredValues>> tensors;
    const Napi::Array names = record.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); ++i) {
      const std::string name = names.Get(i).As<Napi::String>();
      tensors.emplace_back(name, convert::stored_from_js(record.Get(name)));
    }
    return submit(
        info.Env(),
        [tensors = std::move(tensors)](Engine& engine) -> ToJs {
          for (const auto& [name, values] : tensors) engine.load(name, values);
          return undefined;
        },
        record);
  });
}

Napi::Value Session::set_plan(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto plan = convert::plan_from_js(info[0]);
    const Napi::Object options = convert::object_from_js(info[1], "plan's options");
    const int64_t init_seed = convert::integer_from_js(options, "initSeed");
    const bool keep_start = convert::boolean_from_js(options, "keepStart");
    return submit(info.Env(), [plan = std::move(plan), init_seed, keep_start](Engine& engine) -> ToJs {
      engine.set_plan(plan, init_seed, keep_start);
      return undefined;
    });
  });
}

Napi::Value Session::train(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    if (!info[0].IsArray()) throw Error("ERR_INTERNAL", "train was not given an array of batches");
    const auto list = info[0].As<Napi::Array>();
    std::vector<BatchRows> rows;
    for (uint32_t i = 0; i < list.Length(); ++i) rows.push_back(convert::rows_from_js(list.Get(i)));
    const StepOptions options = convert::step_from_js(info[1]);
    return submit(info.Env(), [this, rows = std::move(rows), options](Engine& engine) {
      return engine.train(rows, options, stop_).then([](const StepResult& result) -> ToJs {
        return [result](Napi::Env env) { return step_to_js(env, result); };
      });
    });
  });
}

Napi::Value Session::forward(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto rows = convert::rows_from_js(info[0]);
    const bool hidden_states =
        convert::boolean_from_js(convert::object_from_js(info[1], "forward's options"), "hiddenStates");
    return submit(info.Env(), [this, rows = std::move(rows), hidden_states](Engine& engine) {
      return engine.forward(rows, hidden_states, stop_).then([](const ForwardResult& result) -> ToJs {
        return [result](Napi::Env env) { return forward_to_js(env, result); };
      });
    });
  });
}

Napi::Value Session::gradients(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    auto rows = convert::rows_from_js(info[0]);
    return submit(info.Env(), [this, rows = std::move(rows)](Engine& engine) -> ToJs {
      const StepResult result = engine.gradients(rows, stop_);
      return [result](Napi::Env env) { return step_to_js(env, result); };
    });
  });
}

Napi::Value Session::read_parameter(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return submit(info.Env(), [name = convert::string_from_js(info[0], "name")](Engine& engine) -> ToJs {
      return [values = engine.read_parameter(name)](Napi::Env env) { return convert::floats_to_js(env, values); };
    });
  });
}

Napi::Value Session::read_gradient(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return submit(info.Env(), [name = convert::string_from_js(info[0], "name")](Engine& engine) -> ToJs {
      return [values = engine.read_gradient(name)](Napi::Env env) { return convert::floats_to_js(env, values); };
    });
  });
}

Napi::Value Session::read_buffer(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const ArenaBuffer buffer = convert::buffer_from_js(info[0]);
    std::optional<ElementRange> range;
    if (!info[1].IsUndefined()) {
      const Napi::Object given = convert::object_from_js(info[1], "range");
      range = {convert::integer_from_js(given, "begin"), convert::integer_from_js(given, "end")};
    }
    return submit(info.Env(), [buffer, range](Engine& engine) -> ToJs {
      return [values = engine.read_buffer(buffer, range)](Napi::Env env) { return convert::floats_to_js(env, values); };
    });
  });
}

Napi::Value Session::buffer_length(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return submit(info.Env(), [buffer = convert::buffer_from_js(info[0])](Engine& engine) -> ToJs {
      return [length = engine.buffer_length(buffer)](Napi::Env env) {
        return Napi::Number::New(env, static_cast<double>(length));
      };
    });
  });
}

Napi::Value Session::write_buffer(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const ArenaBuffer buffer = convert::buffer_from_js(info[0]);
    if (!info[1].IsTypedArray() || info[1].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
      throw Error("ERR_INTERNAL", "writeBuffer was not given a Float32Array");
    }
    const auto values = info[1].As<Napi::Float32Array>();
    std::optional<int64_t> begin;
    if (!info[2].IsUndefined()) {
      begin = convert::integer_from_js(convert::object_from_js(info[2], "range"), "begin");
    }
    return submit(
        info.Env(),
        [buffer, data = values.Data(), count = values.ElementLength(), begin](Engine& engine) -> ToJs {
          engine.write_buffer(buffer, data, count, begin);
          return undefined;
        },
        values);
  });
}

Napi::Value Session::snapshot(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return submit(info.Env(), [slot = convert::string_from_js(info[0], "slot")](Engine& engine) -> ToJs {
      engine.snapshot(slot);
      return undefined;
    });
  });
}

Napi::Value Session::restore(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return submit(info.Env(), [slot = convert::string_from_js(info[0], "slot")](Engine& engine) -> ToJs {
      engine.restore(slot);
      return undefined;
    });
  });
}

Napi::Value Session::drop_snapshot(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return submit(info.Env(), [slot = convert::string_from_js(info[0], "slot")](Engine& engine) -> ToJs {
      engine.drop_snapshot(slot);
      return undefined;
    });
  });
}

Napi::Value Session::read_snapshot(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return submit(info.Env(),
                  [slot = convert::string_from_js(info[0], "slot"),
                   name = convert::string_from_js(info[1], "name")](Engine& engine) -> ToJs {
                    return [values = engine.read_snapshot(slot, name)](Napi::Env env) {
                      return convert::floats_to_js(env, values);
                    };
                  });
  });
}

Napi::Value Session::distances(const Napi::CallbackInfo& info) {
  return submit(info.Env(), [](Engine& engine) -> ToJs {
    return [groups = engine.distances()](Napi::Env env) -> Napi::Value {
      Napi::Object record = Napi::Object::New(env);
      for (const auto& [group, distance] : groups) record.Set(group, distance);
      return record;
    };
  });
}

Napi::Value Session::profile(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    if (!info[0].IsBoolean()) throw Error("ERR_INTERNAL", "profile was not given a boolean");
    // It reads lengths and flags where they lie, and on a GPU an operator's call is no time of its work.
    if (device_ != at::kCPU) throw Error("ERR_CONFIG", "operators are profiled on the CPU alone");
    return enqueue(info.Env(),
                   [this, on = info[0].As<Napi::Boolean>().Value()]() -> ToJs {
                     profile_.reset();
                     if (on) profile_.emplace();
                     return undefined;
                   },
                   {});
  });
}

Napi::Value Session::take_profile(const Napi::CallbackInfo& info) {
  return enqueue(info.Env(),
                 [this]() -> ToJs {
                   if (!profile_) throw Error("ERR_INTERNAL", "takeProfile was called without a profile");
                   return [result = profile_->take()](Napi::Env env) { return convert::profile_to_js(env, result); };
                 },
                 {});
}

Napi::Value Session::time_product(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const Napi::Object object = convert::object_from_js(info[0], "product");
    const auto product = convert::product_from_js(object.Get("product"));
    const int64_t m = convert::integer_from_js(object, "m");
    const int64_t k = convert::integer_from_js(object, "k");
    const int64_t n = convert::integer_from_js(object, "n");
    const at::ScalarType dtype = convert::compute_dtype_from_js(object.Get("dtype"));
    const int64_t repeats = convert::integer_from_js(object, "repeats");
    return enqueue(info.Env(),
                   [=]() -> ToJs {
                     auto seconds = machine_rates::product_seconds(product, m, k, n, dtype, repeats);
                     return [seconds](Napi::Env env) { return convert::numbers_to_js(env, seconds); };
                   },
                   {});
  });
}

Napi::Value Session::time_copy(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const Napi::Object object = convert::object_from_js(info[0], "copy");
    const int64_t bytes = convert::integer_from_js(object, "bytes");
    const int64_t repeats = convert::integer_from_js(object, "repeats");
    return enqueue(info.Env(),
                   [=]() -> ToJs {
                     auto seconds = machine_rates::copy_seconds(bytes, repeats);
                     return [seconds](Napi::Env env) { return convert::numbers_to_js(env, seconds); };
                   },
                   {});
  });
}

Napi::Value Session::peak_memory_bytes(const Napi::CallbackInfo& info) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  // Linux counts in KiB.
  return Napi::Number::New(info.Env(), static_cast<double>(usage.ru_maxrss) * 1024);
}

Napi::Value Session::peak_device_memory_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(peak_device_bytes_));
}

Napi::Value Session::recorded_steps(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(recorded_steps_));
}

void Session::abort(const Napi::CallbackInfo&) {
  if (!disposed_ && to_javascript_) queue_->cancel_pending();
}

Napi::Value Session::dispose(const Napi::CallbackInfo& info) {
  if (!disposed_ && to_javascript_) queue_->cancel_pending();
  stop_ = true;
  const Napi::Value promise = enqueue(info.Env(),
                                      [this]() -> ToJs {
                                        while (finish_oldest()) {
                                        }
                                        engine_.reset();
                                        return [this](Napi::Env env) {
                                          stop();
                                          return undefined(env);
                                        };
                                      },
                                      {});
  disposed_ = true;
  return promise;
}

}  // namespace steadytune
