#pragma once

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/vector_math.h"

// What the products of attention are made of. `numbers` of them, neighbours along a product's inner axis, make one
// element: so a left factor holds them along its rows, and a right factor, as well as a left one that is read down its
// columns, holds those of successive rows. Padding is zero.
namespace steadytune::kernels::cpu {
namespace {

/// float32, whatever they are stored as: no factor needs a form of its own.
struct FloatOperands : Floats {
  static constexpr int64_t numbers = 1;

  /// target [rows, target_columns] along = source [rows, columns].
  template <typename Scalar>
  static void pack(const Scalar* source, int64_t source_stride, int64_t rows, int64_t columns, float* target,
                   int64_t target_columns) {
    pack_rows(source, source_stride, rows, columns, 1.0f, target, target_columns);
  }

  /// What lies along the rows of [rows, columns], down its columns.
  static const float* turn(const float* along, int64_t /*rows*/, int64_t /*columns*/, float* /*place*/) {
    return along;
  }

  /// Of numbers [rows, columns] that lie `stride` apart; as elements they lie elements_of(stride) and stride apart.
  static const float* along(const float* from, int64_t /*stride*/, int64_t /*rows*/, int64_t /*columns*/,
                            float* /*place*/) {
    return from;
  }
  static const float* down(const float* from, int64_t /*stride*/, int64_t /*rows*/, int64_t /*columns*/,
                           float* /*place*/) {
    return from;
  }
};

#if defined(__AVX512BF16__)

/// Pairs of bfloat16 numbers, the first in the lower half: an instruction multiplies both and adds them to a float32
/// sum, so a product takes half as many. What attention itself computes is rounded to bfloat16 for it, as on a GPU.
struct BFloat16Pairs {
  using Element = uint32_t;
  using Vector = __m512bh;
  static Vector load(const Element* elements) { return reinterpret_cast<Vector>(_mm512_loadu_si512(elements)); }
  static Vector repeat(Element element) {
    return reinterpret_cast<Vector>(_mm512_set1_epi32(static_cast<int>(element)));
  }
  static Vec add_product(const Vector& left, const Vector& right, const Vec& sum) {
    return _mm512_dpbf16_ps(sum, left, right);
  }

  static constexpr int64_t numbers = 2;

  static void pack(const c10::BFloat16* source, int64_t source_stride, int64_t rows, int64_t columns, Element* target,
                   int64_t target_columns) {
    constexpr int64_t in_vector = 2 * width;
    for (int64_t row = 0; row < rows; ++row) {
      const c10::BFloat16* from = source + row * source_stride;
      Element* to = target + row * target_columns / 2;
      for (int64_t column = 0; column < target_columns; column += in_vector) {
        const int64_t left = columns - column;
        const __mmask32 present = left >= in_vector ? ~0u : left > 0 ? (1u << left) - 1 : 0u;
        // The next head's, as in pack_rows.
        __builtin_prefetch(from + columns + column);
        _mm512_storeu_si512(to + column / 2, _mm512_maskz_loadu_epi16(present, from + column));
      }
    }
  }

  static const Element* turn(const Element* along, int64_t rows, int64_t columns, Element* place) {
    const auto widened = [&](int64_t row, int64_t column) {
      const Element* half_vector = along + (row * columns + column) / 2;
      return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(half_vector)));
    };
    for (int64_t row = 0; row < rows; row += 2) {
      for (int64_t column = 0; column < columns; column += width) {
        __m512i pairs = widened(row, column);
        if (row + 1 < rows) pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(widened(row + 1, column), 16));
        _mm512_storeu_si512(place + row / 2 * columns + column, pairs);
      }
    }
    return place;
  }

  static const Element* along(const float* from, int64_t stride, int64_t rows, int64_t columns, Element* place) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; column += width) {
        const __m256bh rounded = _mm512_cvtneps_pbh(Vec::loadu(from + row * stride + column));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(place + (row * stride + column) / 2),
                            reinterpret_cast<__m256i>(rounded));
      }
    }
    return place;
  }

  static const Element* down(const float* from, int64_t stride, int64_t rows, int64_t columns, Element* place) {
    // 0, 16, 1, 17, ...: the first row's numbers stand in the lower half of what is converted.
    const __m512i low = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i order = _mm512_or_si512(low, _mm512_slli_epi32(_mm512_add_epi32(low, _mm512_set1_epi32(16)), 16));
    for (int64_t row = 0; row < rows; row += 2) {
      const float* first = from + row * stride;
      for (int64_t column = 0; column < columns; column += width) {
        const Vec second = row + 1 < rows ? Vec::loadu(first + stride + column) : Vec(0.0f);
        const auto rounded = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, Vec::loadu(first + column)));
        _mm512_storeu_si512(place + row / 2 * stride + column, _mm512_permutexvar_epi16(order, rounded));
      }
    }
    return place;
  }
};

template <typename Scalar>
using OperandsOf = std::conditional_t<std::is_same_v<Scalar, c10::BFloat16>, BFloat16Pairs, FloatOperands>;

#else

template <typename Scalar>
using OperandsOf = FloatOperands;

#endif

/// Elements that hold `count` numbers.
template <typename Operands>
constexpr int64_t elements_of(int64_t count) {
  return (count + Operands::numbers - 1) / Operands::numbers;
}

}  // namespace
}  // namespace steadytune::kernels::cpu
