#include "kernels/onednn.h"

#include <ATen/core/dispatch/Dispatcher.h>

namespace steadytune::kernels {

bool onednn_multiplies_bfloat16() {
  // Which is what libtorch itself asks before each product; a libtorch without oneDNN has no such operator.
  static const bool multiplies = [] {
    const auto asked = c10::Dispatcher::singleton().findSchema({"mkldnn::_is_mkldnn_bf16_supported", ""});
    return asked.has_value() && asked->typed<bool()>().call();
  }();
  return multiplies;
}

}  // namespace steadytune::kernels
