#pragma once

#include <napi.h>

#include <exception>
#include <string>

namespace steadytune {

/// An error on its way from the native thread to JavaScript.
struct Failure {
  std::string code;
  std::string message;
  std::string hint;

  /// From the exception that is being handled.
  static Failure of(std::exception_ptr error);

  Napi::Error to_js(Napi::Env env) const;
};

/// Runs the body of a synchronous entry; whatever it throws reaches JavaScript as an error with a code.
template <typename Body>
auto guarded(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Failure::of(std::current_exception()).to_js(env);
  }
}

}  // namespace steadytune
