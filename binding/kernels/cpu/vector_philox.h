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

/// The 8 * philox_batch lanes of the blocks with counters {step, row, third[i], fourth[i]}, in order. Each 32-bit word
/// sits in a 64-bit place, where the machine's 32 x 32 -> 64 multiplication finds it and leaves its product; what
/// collects in the upper halves is never read.
inline void philox_lanes_batch(PhiloxKey key, uint32_t step, uint32_t row, const uint32_t* third,
                               const uint32_t* fourth, uint16_t* lanes) {
#if defined(CPU_CAPABILITY_AVX512)
  __m512i word0 = _mm512_set1_epi64(step);
  __m512i word1 = _mm512_set1_epi64(row);
  __m512i word2 = _mm512_cvtepu32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(third)));
  __m512i word3 = _mm512_cvtepu32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(fourth)));
  const __m512i multiplier0 = _mm512_set1_epi64(philox::multiplier0);
  const __m512i multiplier1 = _mm512_set1_epi64(philox::multiplier1);
  constexpr int exclusive_or = 0x96;
  for (int round = 0; round < philox::rounds; ++round) {
    const __m512i product0 = _mm512_mul_epu32(word0, multiplier0);
    const __m512i product1 = _mm512_mul_epu32(word2, multiplier1);
    word0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(product1, 32), word1,
                                      _mm512_set1_epi64(key.word[0] + round * philox::weyl0), exclusive_or);
    word2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(product0, 32), word3,
                                      _mm512_set1_epi64(key.word[1] + round * philox::weyl1), exclusive_or);
    word1 = product1;
    word3 = product0;
  }
  const __m512i low = _mm512_set1_epi64(0xFFFFFFFF);
  const __m512i first = _mm512_or_si512(_mm512_and_si512(word0, low), _mm512_slli_epi64(word1, 32));
  const __m512i second = _mm512_or_si512(_mm512_and_si512(word2, low), _mm512_slli_epi64(word3, 32));
  const __m512i front = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  const __m512i back = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
  _mm512_storeu_si512(lanes, _mm512_permutex2var_epi64(first, front, second));
  _mm512_storeu_si512(lanes + 32, _mm512_permutex2var_epi64(first, back, second));
#elif defined(CPU_CAPABILITY_AVX2)
  __m256i word0 = _mm256_set1_epi64x(step);
  __m256i word1 = _mm256_set1_epi64x(row);
  __m256i word2 = _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(third)));
  __m256i word3 = _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(fourth)));
  const __m256i multiplier0 = _mm256_set1_epi64x(philox::multiplier0);
  const __m256i multiplier1 = _mm256_set1_epi64x(philox::multiplier1);
  for (int round = 0; round < philox::rounds; ++round) {
    const __m256i product0 = _mm256_mul_epu32(word0, multiplier0);
    const __m256i product1 = _mm256_mul_epu32(word2, multiplier1);
    word0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(product1, 32), word1),
                             _mm256_set1_epi64x(key.word[0] + round * philox::weyl0));
    word2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(product0, 32), word3),
                             _mm256_set1_epi64x(key.word[1] + round * philox::weyl1));
    word1 = product1;
    word3 = product0;
  }
  const __m256i low = _mm256_set1_epi64x(0xFFFFFFFF);
  const __m256i first = _mm256_or_si256(_mm256_and_si256(word0, low), _mm256_slli_epi64(word1, 32));
  const __m256i second = _mm256_or_si256(_mm256_and_si256(word2, low), _mm256_slli_epi64(word3, 32));
  // Unpacking works within 128-bit halves: blocks 0 and 2, then 1 and 3.
  const __m256i even = _mm256_unpacklo_epi64(first, second);
  const __m256i odd = _mm256_unpackhi_epi64(first, second);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), _mm256_permute2x128_si256(even, odd, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes + 16), _mm256_permute2x128_si256(even, odd, 0x31));
#else
  const PhiloxBlock bits = philox4x32({{step, row, third[0], fourth[0]}}, key);
  for (int lane = 0; lane < dropout_block_columns; ++lane) {
    lanes[lane] = static_cast<uint16_t>(philox_lane(bits, lane));
  }
#endif
}

/// Lanes of `blocks` blocks. The three arrays have room for `blocks` rounded up to a multiple of philox_batch.
inline void philox_lanes(const DropoutDraw& draw, uint32_t row, const uint32_t* third, const uint32_t* fourth,
                         int64_t blocks, uint16_t* lanes) {
  for (int64_t block = 0; block < blocks; block += philox_batch) {
    philox_lanes_batch(draw.key, draw.step, row, third + block, fourth + block, lanes + block * dropout_block_columns);
  }
}

/// Body(index, factor) for each of `count` lanes, factor being 0 or the scale. Threshold and scale are copied: the
/// compiler cannot know that what the body writes is not part of `draw`.
template <typename Body>
void for_each_factor(const DropoutDraw& draw, const uint16_t* lanes, int64_t count, Body body) {
  const uint32_t threshold = draw.threshold;
  const float scale = draw.scale;
  for (int64_t i = 0; i < count; ++i) {
    body(i, lanes[i] >= threshold ? scale : 0.0f);
  }
}

}  // namespace
}  // namespace steadytune::kernels::cpu
