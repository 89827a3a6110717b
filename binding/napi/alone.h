#pragma once

#include <napi.h>

/// Operators on their own, without a model: entries of src/native/types.ts that `steadytune verify` calls. They work on
/// libuv's pool and return promises.
namespace steadytune::alone {

Napi::Value adamw(const Napi::CallbackInfo& call);
Napi::Value mixout(const Napi::CallbackInfo& call);

}  // namespace steadytune::alone
