#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/dispatch.h"

namespace steadytune::kernels::cpu {

/// Sums over tokens for each column. Tokens are cut into chunks of fixed size, threads share whole chunks, and the
/// chunks' sums are added in order: so the result does not depend on the number of threads.
class ColumnSums {
 public:
  ColumnSums(int64_t tokens, int64_t columns)
      : tokens_(tokens),
        columns_(columns),
        chunks_((tokens + chunk_tokens - 1) / chunk_tokens),
        parts_(at::empty({chunks_, columns}, at::kFloat)) {}

  /// Calls body(begin, end, part) for every chunk of tokens; the body fills `part` [columns].
  template <typename Body>
  void for_each_chunk(const Body& body) {
    float* parts = parts_.mutable_data_ptr<float>();
    at::parallel_for(0, chunks_, 1, [&](int64_t from, int64_t to) {
      for (int64_t chunk = from; chunk < to; ++chunk) {
        const int64_t begin = chunk * chunk_tokens;
        body(begin, std::min(tokens_, begin + chunk_tokens), parts + chunk * columns_);
      }
    });
  }

  /// float32 [columns]
  at::Tensor total() const {
    at::Tensor result = at::empty({columns_}, at::kFloat);
    const float* parts = parts_.const_data_ptr<float>();
    float* sums = result.mutable_data_ptr<float>();
    const int64_t grain = std::max<int64_t>(64, parallel_grain_elements / std::max<int64_t>(1, chunks_));
    at::parallel_for(0, columns_, grain, [&](int64_t from, int64_t to) {
      std::fill(sums + from, sums + to, 0.0f);
      for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
        const float* part = parts + chunk * columns_;
        for (int64_t column = from; column < to; ++column) {
          sums[column] += part[column];
        }
      }
    });
    return result;
  }

 private:
  static constexpr int64_t chunk_tokens = 32;

  int64_t tokens_;
  int64_t columns_;
  int64_t chunks_;
  at::Tensor parts_;
};

}  // namespace steadytune::kernels::cpu
