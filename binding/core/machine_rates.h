#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

/// What this machine does at best on this thread's number of threads: the floors that benchmarks compare with.
namespace steadytune::machine_rates {

/// One of the three products of a linear layer's training, y = x W^T, dx = dy W and dW = dy^T x, each [m, k] by [k, n].
enum class Product { forward, grad_input, grad_weight };

/// Seconds of each of `repeats` products after one that does not count, through the same library as the model's. In
/// float32 where the processor has no products in bfloat16.
std::vector<double> product_seconds(Product product, int64_t m, int64_t k, int64_t n, at::ScalarType dtype,
                                    int64_t repeats);

/// Seconds of each of `repeats` copies that read `bytes` / 2 and write as many, on all threads.
std::vector<double> copy_seconds(int64_t bytes, int64_t repeats);

}  // namespace steadytune::machine_rates
