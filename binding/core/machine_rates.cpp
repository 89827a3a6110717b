#include "core/machine_rates.h"

#include <ATen/Parallel.h>

#include <chrono>
#include <cstring>

#include "core/error.h"
#include "kernels/onednn.h"

namespace steadytune::machine_rates {
namespace {

template <typename Body>
std::vector<double> time(int64_t repeats, const Body& body) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  body();
  for (int64_t i = 0; i < repeats; ++i) {
    const auto begin = Clock::now();
    body();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return seconds;
}

}  // namespace

std::vector<double> product_seconds(Product product, int64_t m, int64_t k, int64_t n, at::ScalarType dtype,
                                    int64_t repeats) {
  // A processor that cannot multiply bfloat16 is no faster than in float32.
  if (dtype == at::kBFloat16 && !kernels::onednn_multiplies_bfloat16()) dtype = at::kFloat;
  if (m < 1 || k < 1 || n < 1) throw Error("ERR_CONFIG", "a product has a side of less than 1");
  const bool left_transposed = product == Product::grad_weight;
  const bool right_transposed = product == Product::forward;
  at::Tensor left = left_transposed ? at::ones({k, m}, dtype).t() : at::ones({m, k}, dtype);
  at::Tensor right = right_transposed ? at::ones({n, k}, dtype).t() : at::ones({k, n}, dtype);
  at::Tensor result = at::empty({m, n}, left.options());
  return time(repeats, [&] { at::mm_out(result, left, right); });
}

std::vector<double> copy_seconds(int64_t bytes, int64_t repeats) {
  const int64_t half = bytes / 2;
  if (half < 1) throw Error("ERR_CONFIG", "a copy has less than 2 bytes");
  const at::Tensor from = at::ones({half}, at::kByte);
  const at::Tensor to = at::zeros({half}, at::kByte);
  const uint8_t* source = from.const_data_ptr<uint8_t>();
  uint8_t* target = to.mutable_data_ptr<uint8_t>();
  return time(repeats, [&] {
    at::parallel_for(0, half, 1, [&](int64_t begin, int64_t end) {
      std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
    });
  });
}

}  // namespace steadytune::machine_rates
