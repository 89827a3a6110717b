#include "napi/convert.h"

#include <cmath>
#include <memory>
#include <utility>

#include "core/error.h"
#include "kernels/philox.h"

namespace steadytune::convert {
namespace {

[[noreturn]] void refuse(const std::string& what, const char* expected) {
  throw Error("ERR_INTERNAL", "the addon was given a " + what + " that is not " + expected);
}

template <typename Array>
std::vector<typename std::remove_pointer_t<decltype(std::declval<Array>().Data())>> copy_array(
    const Napi::Value& value, napi_typedarray_type type, const char* what, const char* expected) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) refuse(what, expected);
  const auto array = value.As<Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<int32_t> ints_from_js(const Napi::Object& object, const char* key) {
  return copy_array<Napi::Int32Array>(object.Get(key), napi_int32_array, key, "an Int32Array");
}

Labels labels_from_js(const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return {};
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array) {
    return copy_array<Napi::Int32Array>(value, napi_int32_array, "labels", "an Int32Array");
  }
  return floats_from_js(value, "labels");
}

Activation activation_from_js(const std::string& name) {
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  throw Error("ERR_CHECKPOINT", "the activation '" + name + "' is not supported",
              "supported are gelu, gelu_tanh and relu");
}

std::optional<DecoderShape> decoder_from_js(const Napi::Value& value) {
  if (value.IsNull()) return std::nullopt;
  const Napi::Object object = object_from_js(value, "decoder");
  return DecoderShape{.layers = integer_from_js(object, "layers"),
                      .heads = integer_from_js(object, "heads"),
                      .intermediate_size = integer_from_js(object, "intermediateSize"),
                      .start_id = integer_from_js(object, "startId")};
}

/// True for `yes`, false for `no`.
bool choice_from_js(const Napi::Object& object, const char* key, const char* yes, const char* no) {
  const std::string word = string_from_js(object, key);
  if (word != yes && word != no) refuse(key, (std::string(yes) + " or " + no).c_str());
  return word == yes;
}

void reset_from_js(const Napi::Value& value, ParameterPlan& plan) {
  if (value.IsString()) {
    const std::string name = value.As<Napi::String>();
    if (name == "none") return;
    if (name != "ones" && name != "zeros") refuse("reset", "none, ones, zeros or a normal");
    plan.reset = name == "ones" ? Reset::ones : Reset::zeros;
    return;
  }
  const Napi::Object normal = object_from_js(value, "reset");
  plan.reset = Reset::normal;
  plan.reset_std = number_from_js(normal, "normal");
  plan.reset_stream =
      static_cast<int64_t>(string_from_js(normal, "stream") == "reinit" ? Stream::reinit : Stream::classifier_init);
}

const char* role_name(Role role) {
  switch (role) {
    case Role::embedding:
      return "embedding";
    case Role::attention:
      return "attention";
    case Role::ffn:
      return "ffn";
    case Role::layer_norm:
      return "layerNorm";
    case Role::pooler:
      return "pooler";
    case Role::classifier:
      return "classifier";
  }
  return "";
}

}  // namespace

Napi::Object object_from_js(const Napi::Value& value, const char* what) {
  if (!value.IsObject()) refuse(what, "an object");
  return value.As<Napi::Object>();
}

double number_from_js(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsNumber()) refuse(key, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

int64_t integer_from_js(const Napi::Object& object, const char* key) {
  const double value = number_from_js(object, key);
  if (!(std::abs(value) <= 9007199254740991.0) || value != std::floor(value)) refuse(key, "a whole number");
  return static_cast<int64_t>(value);
}

bool boolean_from_js(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsBoolean()) refuse(key, "a boolean");
  return value.As<Napi::Boolean>();
}

std::string string_from_js(const Napi::Value& value, const char* what) {
  if (!value.IsString()) refuse(what, "a string");
  return value.As<Napi::String>();
}

std::string string_from_js(const Napi::Object& object, const char* key) { return string_from_js(object.Get(key), key); }

std::vector<float> floats_from_js(const Napi::Value& value, const char* what) {
  return copy_array<Napi::Float32Array>(value, napi_float32_array, what, "a Float32Array");
}

EncoderShape shape_from_js(const Napi::Value& value) {
  const Napi::Object object = object_from_js(value, "shape");
  const std::string problem = string_from_js(object, "problem");
  EncoderShape shape{
      .family = family_of(string_from_js(object, "family")),
      .vocabulary_size = integer_from_js(object, "vocabularySize"),
      .embedding_size = integer_from_js(object, "embeddingSize"),
      .hidden_size = integer_from_js(object, "hiddenSize"),
      .layers = integer_from_js(object, "layers"),
      .heads = integer_from_js(object, "heads"),
      .intermediate_size = integer_from_js(object, "intermediateSize"),
      .decoder = decoder_from_js(object.Get("decoder")),
      .max_positions = integer_from_js(object, "maxPositions"),
      .position_offset = integer_from_js(object, "positionOffset"),
      .segment_types = integer_from_js(object, "segmentTypes"),
      .embedding_scale = number_from_js(object, "embeddingScale"),
      .layer_norm_eps = number_from_js(object, "layerNormEps"),
      .activation = activation_from_js(string_from_js(object, "activation")),
      .hidden_dropout = number_from_js(object, "hiddenDropout"),
      .attention_dropout = number_from_js(object, "attentionDropout"),
      .activation_dropout = number_from_js(object, "activationDropout"),
      .classifier_dropout = number_from_js(object, "classifierDropout"),
      .outputs = integer_from_js(object, "outputs"),
      .problem = problem == "regression" ? Problem::regression : Problem::classification,
  };
  shape.check();
  return shape;
}

at::ScalarType compute_dtype_from_js(const Napi::Value& value) {
  const std::string name = string_from_js(value, "dtype");
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  throw Error("ERR_CONFIG", "the dtype '" + name + "' is not supported", "use float32 or bfloat16");
}

c10::DeviceType device_from_js(const Napi::Value& value) {
  const std::string name = string_from_js(value, "device");
  if (name != "cpu" && name != "cuda") refuse("device", "cpu or cuda");
  return name == "cpu" ? at::kCPU : at::kCUDA;
}

Form form_from_js(const Napi::Value& value) {
  const std::string name = string_from_js(value, "engine");
  if (name == "fused") return Form::fused;
  if (name == "reference") return Form::reference;
  refuse("engine", "fused or reference");
}

std::vector<ParameterPlan> plan_from_js(const Napi::Value& value) {
  if (!value.IsArray()) refuse("plan", "an array");
  const auto array = value.As<Napi::Array>();
  std::vector<ParameterPlan> plan(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Object object = object_from_js(array.Get(i), "plan entry");
    ParameterPlan& entry = plan[i];
    entry.frozen = boolean_from_js(object, "frozen");
    entry.lr_scale = number_from_js(object, "lrScale");
    entry.weight_decay = number_from_js(object, "weightDecay");
    entry.decay_towards_start = string_from_js(object, "decayTowards") == "start";
    entry.decay_scaled_by_lr = boolean_from_js(object, "decayScaledByLr");
    reset_from_js(object.Get("reset"), entry);
    const Napi::Value mixout = object.Get("mixout");
    if (!mixout.IsNull()) entry.mixout = mixout_from_js(mixout);
  }
  return plan;
}

Mixout mixout_from_js(const Napi::Value& value) {
  const Napi::Object object = object_from_js(value, "mixout");
  return {.p = number_from_js(object, "p"),
          .column = choice_from_js(object, "mask", "column", "element"),
          .exact_gradient = choice_from_js(object, "gradient", "exact", "released")};
}

BatchRows rows_from_js(const Napi::Value& value) {
  const Napi::Object object = object_from_js(value, "batch");
  return {.token_ids = ints_from_js(object, "tokenIds"),
          .segment_ids = ints_from_js(object, "segmentIds"),
          .row_offsets = ints_from_js(object, "rowOffsets"),
          .row_numbers = ints_from_js(object, "rowNumbers"),
          .labels = labels_from_js(object.Get("labels"))};
}

StepOptions step_from_js(const Napi::Value& value) {
  const Napi::Object object = object_from_js(value, "step's options");
  const Napi::Value betas_value = object.Get("betas");
  if (!betas_value.IsArray()) refuse("betas", "an array");
  const auto betas = betas_value.As<Napi::Array>();
  return {.step = integer_from_js(object, "step"),
          .learning_rate = number_from_js(object, "learningRate"),
          .betas = {number_from_js(betas, "0"), number_from_js(betas, "1")},
          .eps = number_from_js(object, "eps"),
          .bias_correction = boolean_from_js(object, "biasCorrection"),
          .max_grad_norm = number_from_js(object, "maxGradNorm"),
          .order_seed = integer_from_js(object, "orderSeed"),
          .dropout = boolean_from_js(object, "dropout")};
}

ArenaBuffer buffer_from_js(const Napi::Value& value) {
  const std::string name = string_from_js(value, "buffer");
  if (name == "parameters") return ArenaBuffer::parameters;
  if (name == "moment1") return ArenaBuffer::moment1;
  if (name == "moment2") return ArenaBuffer::moment2;
  if (name == "start") return ArenaBuffer::start;
  refuse("buffer", "one of the arena's");
}

machine_rates::Product product_from_js(const Napi::Value& value) {
  const std::string name = string_from_js(value, "product");
  if (name == "forward") return machine_rates::Product::forward;
  if (name == "gradInput") return machine_rates::Product::grad_input;
  if (name == "gradWeight") return machine_rates::Product::grad_weight;
  refuse("product", "forward, gradInput or gradWeight");
}

StoredValues stored_from_js(const Napi::Value& value) {
  const Napi::Object object = object_from_js(value, "tensor");
  const std::string dtype = string_from_js(object, "dtype");
  const Napi::Value data = object.Get("data");
  if (!data.IsTypedArray() || data.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    refuse("tensor's data", "a Uint8Array");
  }
  const auto bytes = data.As<Napi::Uint8Array>();
  const at::ScalarType type = dtype == "float16"    ? at::kHalf
                              : dtype == "bfloat16" ? at::kBFloat16
                              : dtype == "float32"  ? at::kFloat
                                                    : at::ScalarType::Undefined;
  if (type == at::ScalarType::Undefined) refuse("tensor's dtype", "float32, float16 or bfloat16");
  return {type, bytes.Data(), bytes.ByteLength()};
}

Napi::Array parameters_to_js(Napi::Env env, const std::vector<ParameterInfo>& parameters) {
  Napi::Array list = Napi::Array::New(env, parameters.size());
  for (uint32_t i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& parameter = parameters[i];
    Napi::Object record = Napi::Object::New(env);
    record.Set("name", parameter.name);
    record.Set("shape", numbers_to_js(env, parameter.shape));
    record.Set("role", role_name(parameter.role));
    record.Set("kind", parameter.kind == Kind::weight ? "weight" : "bias");
    record.Set("block", parameter.block ? Napi::Number::New(env, static_cast<double>(*parameter.block))
                                        : Napi::Value(env.Null()));
    list.Set(i, record);
  }
  return list;
}

Napi::Value profile_to_js(Napi::Env env, const OperatorProfile::Result& profile) {
  Napi::Array list = Napi::Array::New(env, profile.operators.size());
  for (uint32_t i = 0; i < profile.operators.size(); ++i) {
    const OperatorTime& operation = profile.operators[i];
    Napi::Array shapes = Napi::Array::New(env, operation.shapes.size());
    for (uint32_t tensor = 0; tensor < operation.shapes.size(); ++tensor) {
      shapes.Set(tensor, numbers_to_js(env, operation.shapes[tensor]));
    }
    Napi::Object record = Napi::Object::New(env);
    record.Set("name", operation.name);
    record.Set("shapes", shapes);
    record.Set("dtype", operation.dtype);
    record.Set("calls", static_cast<double>(operation.calls));
    record.Set("seconds", operation.seconds);
    record.Set("flop", operation.flop);
    record.Set("bytes", operation.bytes);
    list.Set(i, record);
  }
  Napi::Object record = Napi::Object::New(env);
  record.Set("operators", list);
  record.Set("seconds", profile.seconds);
  return record;
}

Napi::Value floats_to_js(Napi::Env env, const at::Tensor& values) {
  const auto count = static_cast<size_t>(values.numel());
  if (count == 0) return Napi::Float32Array::New(env, 0);
  auto owner = std::make_unique<at::Tensor>(values);
  float* data = owner->data_ptr<float>();
  const Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(
      env, data, count * sizeof(float), [](Napi::Env, void*, at::Tensor* tensor) { delete tensor; }, owner.get());
  // From here on the finalizer owns the handle.
  static_cast<void>(owner.release());
  return Napi::Float32Array::New(env, count, buffer, 0);
}

}  // namespace steadytune::convert
