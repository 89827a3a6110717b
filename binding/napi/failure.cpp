#include "napi/failure.h"

#include <c10/util/Exception.h>

#include <new>

#include "core/error.h"

namespace steadytune {

Failure Failure::of(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return {e.code(), e.what(), e.hint()};
  } catch (const std::bad_alloc&) {
    return {"ERR_OUT_OF_MEMORY", "the native side ran out of memory", "use a smaller batch or model"};
  } catch (const c10::Error& e) {
    const std::string message = e.what_without_backtrace();
    // Neither the CPU's allocator nor that of pinned memory nor cuBLAS has an exception type of its own.
    bool memory = dynamic_cast<const c10::OutOfMemoryError*>(&e) != nullptr;
    for (const char* sign : {"can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED"}) {
      memory = memory || message.find(sign) != std::string::npos;
    }
    if (memory) return {"ERR_OUT_OF_MEMORY", "libtorch ran out of memory: " + message, "use a smaller batch or model"};
    return {"ERR_INTERNAL", "libtorch failed: " + message, ""};
  } catch (const std::exception& e) {
    return {"ERR_INTERNAL", e.what(), ""};
  } catch (...) {
    return {"ERR_INTERNAL", "an unknown native error", ""};
  }
}

Napi::Error Failure::to_js(Napi::Env env) const {
  Napi::Error error = Napi::Error::New(env, message);
  error.Value().Set("code", code);
  if (!hint.empty()) error.Value().Set("hint", hint);
  return error;
}

}  // namespace steadytune
