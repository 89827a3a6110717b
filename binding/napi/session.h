#pragma once

#include <napi.h>

#include <atomic>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/engine.h"
#include "core/operator_profile.h"
#include "napi/task_queue.h"

namespace steadytune {

/// NativeSession of src/native/types.ts: one engine on one native thread, driven through promises.
class Session : public Napi::ObjectWrap<Session> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit Session(const Napi::CallbackInfo& info);
  ~Session() override;

 private:
  /// Turns a task's result into a JavaScript value, on the JavaScript thread.
  using ToJs = std::function<Napi::Value(Napi::Env)>;
  /// Run on the session's thread.
  using Work = std::function<Late<ToJs>()>;
  using EngineWork = std::function<Late<ToJs>(Engine&)>;
  /// A settled call on its way back to JavaScript.
  struct Completion;
  /// A call whose work is queued on the device.
  struct Unfinished;

  Napi::Value parameters(const Napi::CallbackInfo& info);
  Napi::Value threads(const Napi::CallbackInfo& info);
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value set_plan(const Napi::CallbackInfo& info);
  Napi::Value train(const Napi::CallbackInfo& info);
  Napi::Value forward(const Napi::CallbackInfo& info);
  Napi::Value gradients(const Napi::CallbackInfo& info);
  Napi::Value read_parameter(const Napi::CallbackInfo& info);
  Napi::Value read_gradient(const Napi::CallbackInfo& info);
  Napi::Value buffer_length(const Napi::CallbackInfo& info);
  Napi::Value read_buffer(const Napi::CallbackInfo& info);
  Napi::Value write_buffer(const Napi::CallbackInfo& info);
  Napi::Value snapshot(const Napi::CallbackInfo& info);
  Napi::Value restore(const Napi::CallbackInfo& info);
  Napi::Value drop_snapshot(const Napi::CallbackInfo& info);
  Napi::Value read_snapshot(const Napi::CallbackInfo& info);
  Napi::Value distances(const Napi::CallbackInfo& info);
  Napi::Value profile(const Napi::CallbackInfo& info);
  Napi::Value take_profile(const Napi::CallbackInfo& info);
  Napi::Value time_product(const Napi::CallbackInfo& info);
  Napi::Value time_copy(const Napi::CallbackInfo& info);
  Napi::Value peak_memory_bytes(const Napi::CallbackInfo& info);
  Napi::Value peak_device_memory_bytes(const Napi::CallbackInfo& info);
  Napi::Value recorded_steps(const Napi::CallbackInfo& info);
  void abort(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  /// Queue work, the first kind under the profile if there is one; `keep_alive` is a JavaScript object whose memory the
  /// work reads.
  Napi::Value submit(Napi::Env env, EngineWork work, Napi::Object keep_alive = {});
  Napi::Value enqueue(Napi::Env env, Work work, Napi::Object keep_alive);
  /// Waits for the oldest unfinished call and hands it back; false where none is left.
  int host_threads() const;
  bool finish_oldest();
  void hand_back(std::unique_ptr<Completion> completion);
  void settle(Napi::Env env, Completion& completion);
  Engine& engine();
  void stop();

  static void on_completion(napi_env env, napi_value callback, void* context, void* data);
  static void on_environment_exit(void* session);

  EncoderShape shape_;
  Form form_ = Form::fused;
  at::ScalarType compute_;
  c10::DeviceType device_;
  int threads_;
  std::vector<ParameterInfo> parameters_;
  napi_env env_;
  napi_threadsafe_function to_javascript_ = nullptr;
  size_t pending_ = 0;
  int64_t reported_bytes_ = 0;
  bool disposed_ = false;
  std::atomic<int64_t> engine_bytes_{0};
  std::atomic<int64_t> peak_device_bytes_{0};
  std::atomic<size_t> recorded_steps_{0};
  /// Ends the task at work at its next block.
  std::atomic<bool> stop_{false};
  // All of these are touched by the session's thread alone.
  std::unique_ptr<Engine> engine_;
  std::exception_ptr engine_failure_;
  std::optional<OperatorProfile> profile_;
  std::deque<Unfinished> unfinished_;
  std::unique_ptr<TaskQueue> queue_;
};

}  // namespace steadytune
