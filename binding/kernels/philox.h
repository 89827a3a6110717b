#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define STEADYTUNE_HOST_DEVICE __host__ __device__ __forceinline__
#else
// Always inlined: a copy of its own, compiled for one instruction set, could be linked into code for another.
#define STEADYTUNE_HOST_DEVICE inline __attribute__((always_inline))
#endif

/// Counter-based random numbers: Philox4x32-10 of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011).
/// A draw is a pure function of (seed, stream, layer, site) and of the place it is for, so that the same element gets
/// the same draw on every device, in any order, with any number of threads. No generator state exists.
namespace steadytune {

/// What a random number is for. `initSeed` keys the first two, `orderSeed` the others.
enum class Stream : uint32_t { classifier_init = 1, reinit = 2, order = 3, dropout = 4, mixout = 5 };

/// Where a dropout mask sits: in its layer, or in front of all layers or behind them (then the layer is 0).
enum class Site : uint32_t {
  embeddings = 0,
  attention_probabilities = 1,
  attention_output = 2,
  ffn_output = 3,
  classifier = 4,
  ffn_activation = 5,
  cross_attention_probabilities = 6,
  cross_attention_output = 7,
  relative_positions = 8,
  decoder_embeddings = 9,
  classifier_input = 10,
};

struct PhiloxKey {
  uint32_t word[2];
};

/// Four counter words going in, four random words coming out.
struct PhiloxBlock {
  uint32_t word[4];
};

namespace philox {
inline constexpr uint32_t multiplier0 = 0xD2511F53u;
inline constexpr uint32_t multiplier1 = 0xCD9E8D57u;
inline constexpr uint32_t weyl0 = 0x9E3779B9u;
inline constexpr uint32_t weyl1 = 0xBB67AE85u;
inline constexpr int rounds = 10;
}  // namespace philox

/// `seed` 0 .. 2^32 - 1, `stream` and `site` 0 .. 255, `layer` 0 .. 65535.
STEADYTUNE_HOST_DEVICE PhiloxKey philox_key(uint32_t seed, uint32_t stream, uint32_t layer, uint32_t site) {
  return {{seed, (stream << 24) | (layer << 8) | site}};
}

STEADYTUNE_HOST_DEVICE PhiloxBlock philox4x32(PhiloxBlock counter, PhiloxKey key) {
  for (int round = 0; round < philox::rounds; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(philox::multiplier0) * counter.word[0];
    const uint64_t product1 = static_cast<uint64_t>(philox::multiplier1) * counter.word[2];
    counter = {{
        static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key.word[0],
        static_cast<uint32_t>(product1),
        static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key.word[1],
        static_cast<uint32_t>(product0),
    }};
    key.word[0] += philox::weyl0;
    key.word[1] += philox::weyl1;
  }
  return counter;
}

/// Lane `index` (0 .. 7) of a block: 16 bits, the low half of a word before its high half.
STEADYTUNE_HOST_DEVICE uint32_t philox_lane(const PhiloxBlock& block, int index) {
  return (block.word[index / 2] >> (16 * (index % 2))) & 0xFFFFu;
}

}  // namespace steadytune
