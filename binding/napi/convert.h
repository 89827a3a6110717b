#pragma once

#include <ATen/ATen.h>
#include <napi.h>

#include <string>
#include <vector>

#include "core/encoder_shape.h"
#include "core/engine.h"
#include "core/machine_rates.h"
#include "core/operator_profile.h"
#include "core/packed_batch.h"
#include "core/parameter.h"

/// Between JavaScript values and the core's plain structs, for every record of src/native/types.ts. A value of the
/// wrong type throws ERR_INTERNAL with its key: TypeScript's types rule it out, so it is a defect of the caller.
namespace steadytune::convert {

EncoderShape shape_from_js(const Napi::Value& value);
at::ScalarType compute_dtype_from_js(const Napi::Value& value);
c10::DeviceType device_from_js(const Napi::Value& value);
Form form_from_js(const Napi::Value& value);
std::vector<ParameterPlan> plan_from_js(const Napi::Value& value);
Mixout mixout_from_js(const Napi::Value& value);
BatchRows rows_from_js(const Napi::Value& value);
StepOptions step_from_js(const Napi::Value& value);
ArenaBuffer buffer_from_js(const Napi::Value& value);
machine_rates::Product product_from_js(const Napi::Value& value);
/// The values stay where they are; the caller keeps the JavaScript object alive.
StoredValues stored_from_js(const Napi::Value& value);

double number_from_js(const Napi::Object& object, const char* key);
int64_t integer_from_js(const Napi::Object& object, const char* key);
bool boolean_from_js(const Napi::Object& object, const char* key);
std::string string_from_js(const Napi::Object& object, const char* key);
std::string string_from_js(const Napi::Value& value, const char* what);
Napi::Object object_from_js(const Napi::Value& value, const char* what);
/// Copies.
std::vector<float> floats_from_js(const Napi::Value& value, const char* what);

Napi::Array parameters_to_js(Napi::Env env, const std::vector<ParameterInfo>& parameters);
Napi::Value profile_to_js(Napi::Env env, const OperatorProfile::Result& profile);
/// An array of plain numbers.
template <typename Number>
Napi::Array numbers_to_js(Napi::Env env, const std::vector<Number>& values) {
  Napi::Array list = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); ++i) list.Set(i, Napi::Number::New(env, static_cast<double>(values[i])));
  return list;
}
/// Hands the tensor's memory to JavaScript without a copy; `values` must be contiguous float32 that nobody else writes.
Napi::Value floats_to_js(Napi::Env env, const at::Tensor& values);

}  // namespace steadytune::convert
