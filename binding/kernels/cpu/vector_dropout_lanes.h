#pragma once

#include "kernels/cpu/vector_math.h"

namespace steadytune::kernels::cpu {
namespace {

#if defined(CPU_CAPABILITY_AVX512)
constexpr int64_t philox_batch = 8;
#elif defined(CPU_CAPABILITY_AVX2)
constexpr int64_t philox_batch = 4;
#else
constexpr int64_t philox_batch = 1;
#endif

#if defined(CPU_CAPABILITY_AVX512)
using Words = __m512i;
inline Words broadcast(uint32_t value) { return _mm512_set1_epi64(value); }
#elif defined(CPU_CAPABILITY_AVX2)
using Words = __m256i;
inline Words broadcast(uint32_t value) { return _mm256_set1_epi64x(value); }
#endif

/// Draws the lanes of many blocks under one key and step. Each 32-bit word sits in a 64-bit place, where the machine's
/// 32 x 32 -> 64 multiplication finds it and leaves its product; what collects in the upper halves is never read.
class DropoutLanes {
 public:
  explicit DropoutLanes(const DropoutDraw& draw) : how_(draw) {
#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)
    for (int round = 0; round < philox::rounds; ++round) {
      round_key0_[round] = broadcast(draw.key.word[0] + round * philox::weyl0);
      round_key1_[round] = broadcast(draw.key.word[1] + round * philox::weyl1);
    }
#endif
  }

  bool drops() const { return how_.threshold > 0; }

  /// The 8 * blocks lanes of the counters {step, row, third[i], fourth[i]}, in order. The three arrays have room for
  /// `blocks` rounded up to a multiple of philox_batch.
  void draw(uint32_t row, const uint32_t* third, const uint32_t* fourth, int64_t blocks, uint16_t* lanes) const {
    for (int64_t block = 0; block < blocks; block += philox_batch) {
      draw_batch(row, third + block, fourth + block, lanes + block * dropout_block_columns);
    }
  }

  /// Calls body(index, factor) for each of `count` lanes, factor being 0 or the scale. Threshold and scale are copied:
  /// the compiler cannot know that what the body writes is not part of this object.
  template <typename Body>
  void for_each_factor(const uint16_t* lanes, int64_t count, Body body) const {
    const uint32_t threshold = how_.threshold;
    const float scale = how_.scale;
    for (int64_t i = 0; i < count; ++i) {
      body(i, lanes[i] >= threshold ? scale : 0.0f);
    }
  }

  /// 0 or the scale for each of `width` lanes.
  Vec factors(const uint16_t* lanes) const {
#if defined(CPU_CAPABILITY_AVX512)
    const __m512i drawn = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes)));
    const __mmask16 kept = _mm512_cmpge_epu32_mask(drawn, _mm512_set1_epi32(static_cast<int32_t>(how_.threshold)));
    return _mm512_maskz_mov_ps(kept, _mm512_set1_ps(how_.scale));
#elif defined(CPU_CAPABILITY_AVX2)
    const __m256i drawn = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lanes)));
    const __m256i dropped = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(how_.threshold)), drawn);
    return _mm256_andnot_ps(_mm256_castsi256_ps(dropped), _mm256_set1_ps(how_.scale));
#else
    float factors[width];
    for_each_factor(lanes, width, [&](int64_t i, float factor) { factors[i] = factor; });
    return Vec::loadu(factors);
#endif
  }

 private:
  void draw_batch(uint32_t row, const uint32_t* third, const uint32_t* fourth, uint16_t* lanes) const {
#if defined(CPU_CAPABILITY_AVX512)
    Words word0 = broadcast(how_.step);
    Words word1 = broadcast(row);
    Words word2 = _mm512_cvtepu32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(third)));
    Words word3 = _mm512_cvtepu32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(fourth)));
    constexpr int exclusive_or = 0x96;
    for (int round = 0; round < philox::rounds; ++round) {
      const Words product0 = _mm512_mul_epu32(word0, broadcast(philox::multiplier0));
      const Words product1 = _mm512_mul_epu32(word2, broadcast(philox::multiplier1));
      word0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(product1, 32), word1, round_key0_[round], exclusive_or);
      word2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(product0, 32), word3, round_key1_[round], exclusive_or);
      word1 = product1;
      word3 = product0;
    }
    const Words low = broadcast(0xFFFFFFFF);
    const Words first = _mm512_or_si512(_mm512_and_si512(word0, low), _mm512_slli_epi64(word1, 32));
    const Words second = _mm512_or_si512(_mm512_and_si512(word2, low), _mm512_slli_epi64(word3, 32));
    const Words front = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const Words back = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_storeu_si512(lanes, _mm512_permutex2var_epi64(first, front, second));
    _mm512_storeu_si512(lanes + 32, _mm512_permutex2var_epi64(first, back, second));
#elif defined(CPU_CAPABILITY_AVX2)
    Words word0 = broadcast(how_.step);
    Words word1 = broadcast(row);
    Words word2 = _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(third)));
    Words word3 = _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(fourth)));
    for (int round = 0; round < philox::rounds; ++round) {
      const Words product0 = _mm256_mul_epu32(word0, broadcast(philox::multiplier0));
      const Words product1 = _mm256_mul_epu32(word2, broadcast(philox::multiplier1));
      word0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(product1, 32), word1), round_key0_[round]);
      word2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(product0, 32), word3), round_key1_[round]);
      word1 = product1;
      word3 = product0;
    }
    const Words low = broadcast(0xFFFFFFFF);
    const Words first = _mm256_or_si256(_mm256_and_si256(word0, low), _mm256_slli_epi64(word1, 32));
    const Words second = _mm256_or_si256(_mm256_and_si256(word2, low), _mm256_slli_epi64(word3, 32));
    // Unpacking works within 128-bit halves: blocks 0 and 2, then 1 and 3.
    const Words even = _mm256_unpacklo_epi64(first, second);
    const Words odd = _mm256_unpackhi_epi64(first, second);
    _mm256_storeu_si256(reinterpret_cast<Words*>(lanes), _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256(reinterpret_cast<Words*>(lanes + 16), _mm256_permute2x128_si256(even, odd, 0x31));
#else
    const PhiloxBlock bits = philox4x32({{how_.step, row, third[0], fourth[0]}}, how_.key);
    for (int lane = 0; lane < dropout_block_columns; ++lane) {
      lanes[lane] = static_cast<uint16_t>(philox_lane(bits, lane));
    }
#endif
  }

  DropoutDraw how_;
#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)
  Words round_key0_[philox::rounds];
  Words round_key1_[philox::rounds];
#endif
};

}  // namespace
}  // namespace steadytune::kernels::cpu
