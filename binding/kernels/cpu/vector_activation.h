#pragma once

#include <algorithm>

#include "kernels/activation.h"
#include "kernels/cpu/vector_token_mask.h"

namespace steadytune::kernels::cpu {
namespace {

/// What the functors of activation.h ask for, over vectors.
struct VectorMath {
  static Vec multiply_add(const Vec& a, const Vec& b, const Vec& c) { return at::vec::fmadd(a, b, c); }
  static Vec absolute(const Vec& x) { return x.abs(); }
  static Vec at_most(const Vec& x, float limit) { return at::vec::clamp_max(x, Vec(limit)); }
  static Vec at_least(const Vec& x, float limit) { return at::vec::clamp_min(x, Vec(limit)); }

  static Vec negative(const Vec& x, const Vec& yes, const Vec& no) {
#if defined(CPU_CAPABILITY_AVX512)
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(x)), no, yes);
#elif defined(CPU_CAPABILITY_AVX2)
    return _mm256_blendv_ps(no, yes, x);
#else
    return each([](float sign, float a, float b) { return std::bit_cast<int32_t>(sign) < 0 ? a : b; }, x, yes, no);
#endif
  }

  static Vec positive(const Vec& x, const Vec& yes, const Vec& no) {
#if defined(CPU_CAPABILITY_AVX512)
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NLE_UQ), no, yes);
#elif defined(CPU_CAPABILITY_AVX2)
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NLE_UQ));
#else
    return each([](float value, float a, float b) { return value <= 0.0f ? b : a; }, x, yes, no);
#endif
  }

  static Vec times_power(const Vec& x, const Vec& power) {
#if defined(CPU_CAPABILITY_AVX512)
    const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(power), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), exponent));
#elif defined(CPU_CAPABILITY_AVX2)
    const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(power), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
#else
    return each(
        [](float value, float exponent, float) {
          return std::bit_cast<float>(std::bit_cast<uint32_t>(value) + (std::bit_cast<uint32_t>(exponent) << 23));
        },
        x, power, x);
#endif
  }

 private:
#if defined(CPU_CAPABILITY_DEFAULT)
  template <typename Element>
  static Vec each(Element element, const Vec& x, const Vec& y, const Vec& z) {
    float a[width];
    float b[width];
    float c[width];
    x.store(a);
    y.store(b);
    z.store(c);
    for (int64_t i = 0; i < width; ++i) {
      a[i] = element(a[i], b[i], c[i]);
    }
    return Vec::loadu(a);
  }
#endif
};

template <Activation activation, bool drops, typename Scalar>
void bias_activation_tokens(const Scalar* x, const float* bias, Scalar* y, const TokenMask& mask, int64_t count,
                            int64_t columns) {
  const TokenLanes dropout(mask);
  uint16_t lanes[lane_columns];
  for (int64_t token = 0; token < count; ++token) {
    for (int64_t begin = 0; begin < columns; begin += lane_columns) {
      const int64_t size = std::min(lane_columns, columns - begin);
      if constexpr (drops) {
        dropout.draw(token, begin, size, lanes);
      }
      const Scalar* from = x + token * columns + begin;
      Scalar* to = y + token * columns + begin;
      for_each_vector(size, [&](int64_t i, auto elements) {
        const Vec sum = load_vector(from + i, elements) + load_vector(bias + begin + i, elements);
        Vec value = activate<activation, VectorMath>(sum);
        if constexpr (drops) {
          value = value * dropout.factors(lanes + i);
        }
        store_vector(to + i, value, elements);
      });
    }
  }
}

/// Tokens whose column sums gather in registers before they are added to those in memory.
constexpr int64_t token_group = 8;

template <Activation activation, bool drops, typename Scalar>
void bias_activation_backward_tokens(const Scalar* grad_y, const Scalar* x, const float* bias, Scalar* grad_x,
                                     float* grad_bias, const TokenMask& mask, int64_t count, int64_t columns) {
  const TokenLanes dropout(mask);
  uint16_t lanes[token_group * lane_columns];
  zero(grad_bias, columns);
  for (int64_t first = 0; first < count; first += token_group) {
    const int64_t tokens = std::min(token_group, count - first);
    for (int64_t begin = 0; begin < columns; begin += lane_columns) {
      const int64_t size = std::min(lane_columns, columns - begin);
      if constexpr (drops) {
        for (int64_t token = 0; token < tokens; ++token) {
          dropout.draw(first + token, begin, size, lanes + token * lane_columns);
        }
      }
      for_each_vector(size, [&](int64_t i, auto elements) {
        const Vec offset = load_vector(bias + begin + i, elements);
        Vec sum = load_vector(grad_bias + begin + i, elements);
        for (int64_t token = 0; token < tokens; ++token) {
          const int64_t place = (first + token) * columns + begin + i;
          Vec grad = load_vector(grad_y + place, elements);
          if constexpr (drops) {
            grad = grad * dropout.factors(lanes + token * lane_columns + i);
          }
          grad = grad * activation_derivative<activation, VectorMath>(load_vector(x + place, elements) + offset);
          sum = sum + grad;
          store_vector(grad_x + place, grad, elements);
        }
        store_vector(grad_bias + begin + i, sum, elements);
      });
    }
  }
}

/// Calls body.operator()<activation, drops>() with both known to the compiler.
template <typename Body>
void with_activation(Activation activation, const TokenMask& mask, Body body) {
  const auto with_dropout = [&]<Activation known>() {
    mask.draw.threshold > 0 ? body.template operator()<known, true>() : body.template operator()<known, false>();
  };
  switch (activation) {
    case Activation::gelu:
      return with_dropout.template operator()<Activation::gelu>();
    case Activation::gelu_tanh:
      return with_dropout.template operator()<Activation::gelu_tanh>();
    case Activation::relu:
      return with_dropout.template operator()<Activation::relu>();
    case Activation::tanh:
      return with_dropout.template operator()<Activation::tanh>();
  }
}

template <typename Scalar>
void bias_activation(Activation activation, const Scalar* x, const float* bias, Scalar* y, const TokenMask& mask,
                     int64_t count, int64_t columns) {
  with_activation(activation, mask, [&]<Activation known, bool drops>() {
    bias_activation_tokens<known, drops>(x, bias, y, mask, count, columns);
  });
}

template <typename Scalar>
void bias_activation_backward(Activation activation, const Scalar* grad_y, const Scalar* x, const float* bias,
                              Scalar* grad_x, float* grad_bias, const TokenMask& mask, int64_t count, int64_t columns) {
  with_activation(activation, mask, [&]<Activation known, bool drops>() {
    bias_activation_backward_tokens<known, drops>(grad_y, x, bias, grad_x, grad_bias, mask, count, columns);
  });
}

}  // namespace
}  // namespace steadytune::kernels::cpu
