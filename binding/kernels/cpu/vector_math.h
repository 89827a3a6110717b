#pragma once

// Only for vector_<instruction set>.cpp, which define CPU_CAPABILITY first. Everything here and in the other
// vector_*.h files has internal linkage, one copy per instruction set.

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <bit>
#include <cstdint>

#include "kernels/cpu/vector_kernels.h"

namespace steadytune::kernels::cpu {
namespace {

using Vec = at::vec::Vectorized<float>;
constexpr int64_t width = Vec::size();

#if defined(CPU_CAPABILITY_AVX512)
constexpr int vector_registers = 32;
#else
constexpr int vector_registers = 16;
#endif

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

inline float load_float(float value) { return value; }
inline float load_float(c10::BFloat16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.x) << 16); }

inline void store_float(float& place, float value) { place = value; }
/// Round to nearest, ties to even; written without branches so that the compiler vectorises the loops around it.
inline void store_float(c10::BFloat16& place, float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  place.x = static_cast<uint16_t>(is_nan ? 0x7FC0u : rounded);
}

constexpr int64_t cache_line = 64;

/// target [rows, target_stride] = factor * source [rows, columns]; columns up to target_stride become zero. The columns
/// beside these, which the next head will want, are asked for ahead: with rows far apart the machine does not guess it.
template <typename Scalar>
void pack_rows(const Scalar* source, int64_t source_stride, int64_t rows, int64_t columns, float factor, float* target,
               int64_t target_stride) {
  for (int64_t row = 0; row < rows; ++row) {
    const Scalar* from = source + row * source_stride;
    float* to = target + row * target_stride;
    for (int64_t column = 0; column < columns; column += cache_line / sizeof(Scalar)) {
      __builtin_prefetch(from + columns + column);
    }
    for (int64_t column = 0; column < columns; ++column) {
      to[column] = factor * load_float(from[column]);
    }
    for (int64_t column = columns; column < target_stride; ++column) {
      to[column] = 0.0f;
    }
  }
}

template <typename Scalar>
void unpack_rows(const float* source, int64_t source_stride, int64_t rows, int64_t columns, float factor,
                 Scalar* target, int64_t target_stride) {
  for (int64_t row = 0; row < rows; ++row) {
    const float* from = source + row * source_stride;
    Scalar* to = target + row * target_stride;
    for (int64_t column = 0; column < columns; column += cache_line / sizeof(Scalar)) {
      __builtin_prefetch(to + columns + column, 1);
    }
    for (int64_t column = 0; column < columns; ++column) {
      store_float(to[column], factor * from[column]);
    }
  }
}

inline float sum_of(const Vec& values) {
  return at::vec::vec_reduce_all<float>([](const Vec& a, const Vec& b) { return a + b; }, values);
}

inline void zero(float* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    values[i] = 0.0f;
  }
}

/// target [columns, rows] = source [rows, columns] transposed; both sizes are multiples of `width`.
inline void transpose(const float* source, int64_t rows, int64_t columns, float* target) {
  for (int64_t row = 0; row < rows; row += width) {
    for (int64_t column = 0; column < columns; column += width) {
      at::vec::transpose_mxn<float, width, width>(source + row * columns + column, columns,
                                                  target + column * rows + row, rows);
    }
  }
}

/// The factors of a product as float32 numbers.
struct Floats {
  using Element = float;
  using Vector = Vec;
  static Vector load(const float* elements) { return Vec::loadu(elements); }
  static Vector repeat(float element) { return Vec(element); }
  static Vec add_product(const Vector& left, const Vector& right, const Vec& sum) {
    return at::vec::fmadd(left, right, sum);
  }
};

/// c [rows, vectors * width] = factor * a [rows, depth] b [depth, vectors * width], or += without a factor, held in
/// registers. a is read by single elements, so either of its axes may be the contiguous one. Depth and strides of a and
/// b count elements of `Factors`.
template <typename Factors, int rows, int vectors, bool accumulate>
inline void multiply_block(int64_t depth, const typename Factors::Element* a, int64_t a_row, int64_t a_depth,
                           const typename Factors::Element* b, int64_t b_stride, float* c, int64_t c_stride,
                           float factor) {
  Vec sums[rows][vectors];
  for (int row = 0; row < rows; ++row) {
    for (int vector = 0; vector < vectors; ++vector) {
      sums[row][vector] = accumulate ? Vec::loadu(c + row * c_stride + vector * width) : Vec(0.0f);
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    typename Factors::Vector right[vectors];
    for (int vector = 0; vector < vectors; ++vector) {
      right[vector] = Factors::load(b + k * b_stride + vector * width);
    }
    for (int row = 0; row < rows; ++row) {
      const typename Factors::Vector left = Factors::repeat(a[row * a_row + k * a_depth]);
      for (int vector = 0; vector < vectors; ++vector) {
        sums[row][vector] = Factors::add_product(left, right[vector], sums[row][vector]);
      }
    }
  }
  for (int row = 0; row < rows; ++row) {
    for (int vector = 0; vector < vectors; ++vector) {
      const Vec sum = accumulate ? sums[row][vector] : Vec(factor) * sums[row][vector];
      sum.store(c + row * c_stride + vector * width);
    }
  }
}

template <typename Factors, int block_rows, int vectors, bool accumulate>
inline void multiply_panel(int64_t rows, int64_t depth, const typename Factors::Element* a, int64_t a_row,
                           int64_t a_depth, const typename Factors::Element* b, int64_t b_stride, float* c,
                           int64_t c_stride, float factor) {
  for (; rows >= block_rows; rows -= block_rows) {
    multiply_block<Factors, block_rows, vectors, accumulate>(depth, a, a_row, a_depth, b, b_stride, c, c_stride,
                                                             factor);
    a += block_rows * a_row;
    c += block_rows * c_stride;
  }
  if constexpr (block_rows > 1) {
    if (rows > 0) {
      multiply_panel<Factors, block_rows / 2, vectors, accumulate>(rows, depth, a, a_row, a_depth, b, b_stride, c,
                                                                   c_stride, factor);
    }
  }
}

/// c [rows, columns] = factor * a [rows, depth] b [depth, columns], or += without a factor; columns is a multiple of
/// `width`. Each element is one sum in order of depth, so it does not depend on how the rows are cut.
template <bool accumulate, typename Factors = Floats>
void multiply(int64_t rows, int64_t columns, int64_t depth, const typename Factors::Element* a, int64_t a_row,
              int64_t a_depth, const typename Factors::Element* b, int64_t b_stride, float* c, int64_t c_stride,
              float factor = 1.0f) {
  // Sums take most of the registers; the rest hold a row of b and the element of a.
  constexpr int wide = vector_registers == 32 ? 4 : 2;
  constexpr int wide_rows = 6;
  constexpr int middle_rows = vector_registers == 32 ? 12 : 6;
  constexpr int narrow_rows = vector_registers == 32 ? 16 : 8;
  int64_t column = 0;
  for (; columns - column >= wide * width; column += wide * width) {
    multiply_panel<Factors, wide_rows, wide, accumulate>(rows, depth, a, a_row, a_depth, b + column, b_stride,
                                                         c + column, c_stride, factor);
  }
  if (wide > 2 && columns - column >= 2 * width) {
    multiply_panel<Factors, middle_rows, 2, accumulate>(rows, depth, a, a_row, a_depth, b + column, b_stride,
                                                        c + column, c_stride, factor);
    column += 2 * width;
  }
  if (columns - column >= width) {
    multiply_panel<Factors, narrow_rows, 1, accumulate>(rows, depth, a, a_row, a_depth, b + column, b_stride,
                                                        c + column, c_stride, factor);
  }
}

}  // namespace
}  // namespace steadytune::kernels::cpu
