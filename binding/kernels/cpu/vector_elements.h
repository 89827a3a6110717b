#pragma once

#include "kernels/cpu/vector_math.h"

// Elements of either dtype as vectors of float32.
namespace steadytune::kernels::cpu {
namespace {

/// A whole vector, where a number of elements below `width` may stand instead.
struct Whole {};

inline Vec load_vector(const float* from, Whole) { return Vec::loadu(from); }

inline Vec load_vector(const c10::BFloat16* from, Whole) {
#if defined(CPU_CAPABILITY_AVX512)
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
#elif defined(CPU_CAPABILITY_AVX2)
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
#else
  float values[width];
  for (int64_t i = 0; i < width; ++i) {
    values[i] = load_float(from[i]);
  }
  return Vec::loadu(values);
#endif
}

template <typename Scalar>
Vec load_vector(const Scalar* from, int64_t count) {
  float values[width] = {};
  for (int64_t i = 0; i < count; ++i) {
    values[i] = load_float(from[i]);
  }
  return Vec::loadu(values);
}

inline void store_vector(float* to, const Vec& values, Whole) { values.store(to); }

/// Round to nearest, ties to even, as store_float does.
inline void store_vector(c10::BFloat16* to, const Vec& values, Whole) {
#if defined(CPU_CAPABILITY_AVX512)
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
  const __mmask16 is_nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  const __m512i result = _mm512_mask_mov_epi32(rounded, is_nan, _mm512_set1_epi32(0x7FC0));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(result));
#elif defined(CPU_CAPABILITY_AVX2)
  const __m256i bits = _mm256_castps_si256(values);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF))), 16);
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
  const __m256i result = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7FC0), is_nan);
  // Packing works within 128-bit halves.
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(result, result), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
#else
  float lanes[width];
  values.store(lanes);
  for (int64_t i = 0; i < width; ++i) {
    store_float(to[i], lanes[i]);
  }
#endif
}

template <typename Scalar>
void store_vector(Scalar* to, const Vec& values, int64_t count) {
  float lanes[width];
  values.store(lanes);
  for (int64_t i = 0; i < count; ++i) {
    store_float(to[i], lanes[i]);
  }
}

/// Calls body(index, size) for every vector of `count` elements; size is Whole or, for the last ones, their number.
template <typename Body>
void for_each_vector(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + width <= count; i += width) {
    body(i, Whole{});
  }
  if (i < count) {
    body(i, count - i);
  }
}

}  // namespace
}  // namespace steadytune::kernels::cpu
