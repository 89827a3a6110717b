#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/dropout.h"

/// Slow, plain implementations in float64 that the kernels are compared with.
namespace reference {

struct Dropout {
  double p;
  int64_t seed;
  int64_t layer;
  int64_t step;
};

inline steadytune::DropoutDraw draw(const Dropout& dropout, steadytune::Site site) {
  const double threshold = std::round(dropout.p * 65536.0);
  return {
      .key = steadytune::philox_key(dropout.seed, static_cast<uint32_t>(steadytune::Stream::dropout), dropout.layer,
                                    static_cast<uint32_t>(site)),
      .step = static_cast<uint32_t>(dropout.step),
      .threshold = static_cast<uint32_t>(threshold),
      .scale = static_cast<float>(65536.0 / (65536.0 - threshold)),
  };
}

/// Factors [tokens, columns] of a token-wise mask, one Philox block for every single element.
inline at::Tensor token_mask(const Dropout& dropout, steadytune::Site site, const at::Tensor& rows,
                             const at::Tensor& positions, int64_t columns) {
  const steadytune::DropoutDraw how = draw(dropout, site);
  at::Tensor mask = at::empty({rows.numel(), columns}, at::kDouble);
  auto factor = mask.accessor<double, 2>();
  for (int64_t token = 0; token < rows.numel(); ++token) {
    for (int64_t column = 0; column < columns; ++column) {
      const auto bits = steadytune::philox4x32(
          {{how.step, static_cast<uint32_t>(rows[token].item<int32_t>()),
            static_cast<uint32_t>(positions[token].item<int32_t>()), static_cast<uint32_t>(column / 8)}},
          how.key);
      const uint32_t word = bits.word[(column % 8) / 2];
      const uint32_t lane = column % 2 == 0 ? word & 0xFFFF : word >> 16;
      factor[token][column] = lane >= how.threshold ? how.scale : 0.0;
    }
  }
  return mask;
}

/// Factors [heads, length, length] of the mask on one row's attention probabilities.
inline at::Tensor attention_mask(const Dropout& dropout, steadytune::Site site, int32_t row, int64_t heads,
                                 int64_t length) {
  const steadytune::DropoutDraw how = draw(dropout, site);
  at::Tensor mask = at::empty({heads, length, length}, at::kDouble);
  auto factor = mask.accessor<double, 3>();
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t query = 0; query < length; ++query) {
      for (int64_t key = 0; key < length; ++key) {
        const auto bits =
            steadytune::philox4x32({{how.step, static_cast<uint32_t>(row), static_cast<uint32_t>(head * 65536 + query),
                                     static_cast<uint32_t>(key / 8)}},
                                   how.key);
        const uint32_t word = bits.word[(key % 8) / 2];
        const uint32_t lane = key % 2 == 0 ? word & 0xFFFF : word >> 16;
        factor[head][query][key] = lane >= how.threshold ? how.scale : 0.0;
      }
    }
  }
  return mask;
}

/// softmax(Q K^T / sqrt(d)) * mask V of a packed batch, by plain ATen operators that autograd follows.
inline at::Tensor attention(const at::Tensor& qkv, const std::vector<int32_t>& lengths,
                            const std::vector<int32_t>& row_numbers, int64_t heads, bool causal, const Dropout& dropout,
                            steadytune::Site site) {
  const int64_t hidden = qkv.size(1) / 3;
  const int64_t head_size = hidden / heads;
  std::vector<at::Tensor> outputs;
  int64_t begin = 0;
  for (size_t row = 0; row < lengths.size(); ++row) {
    const int64_t length = lengths[row];
    const at::Tensor split =
        qkv.slice(0, begin, begin + length).view({length, 3, heads, head_size}).permute({1, 2, 0, 3});
    at::Tensor scores = at::matmul(split[0], split[1].transpose(1, 2)) / std::sqrt(static_cast<double>(head_size));
    if (causal) {
      const at::Tensor later = at::ones({length, length}, at::kBool).triu(1);
      scores = scores.masked_fill(later, -std::numeric_limits<double>::infinity());
    }
    at::Tensor weights = at::softmax(scores, -1);
    if (dropout.p > 0.0) {
      weights = weights * attention_mask(dropout, site, row_numbers[row], heads, length);
    }
    outputs.push_back(at::matmul(weights, split[2]).transpose(0, 1).reshape({length, hidden}));
    begin += length;
  }
  return at::cat(outputs);
}

/// |actual - expected| / |expected|, as L2 norms in float64.
inline double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor exact = expected.to(at::kDouble);
  return (actual.to(at::kDouble) - exact).norm().item<double>() / (exact.norm().item<double>() + 1e-300);
}

inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  // A tensor without elements has no address that memcmp may be given.
  return a.numel() == 0 || std::memcmp(a.contiguous().data_ptr(), b.contiguous().data_ptr(), a.nbytes()) == 0;
}

/// Runs the rest of the scope with another number of threads.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

inline at::Tensor ints(const std::vector<int32_t>& values) { return at::tensor(values, at::kInt); }

/// Uniform in -1 .. 1, the same in every run.
inline at::Tensor noise(at::IntArrayRef sizes, int64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::empty(sizes, at::kFloat).uniform_(-1.0, 1.0, generator);
}

/// Offsets [rows + 1] of rows laid back to back.
inline std::vector<int32_t> offsets(const std::vector<int32_t>& lengths) {
  std::vector<int32_t> result{0};
  for (const int32_t length : lengths) {
    result.push_back(result.back() + length);
  }
  return result;
}

}  // namespace reference
