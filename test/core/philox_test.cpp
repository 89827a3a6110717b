#include "kernels/philox.h"

#include "expect.h"

using steadytune::philox4x32;
using steadytune::PhiloxBlock;

namespace {

void expect_bits(PhiloxBlock counter, steadytune::PhiloxKey key, PhiloxBlock expected) {
  const PhiloxBlock actual = philox4x32(counter, key);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQUAL(actual.word[i], expected.word[i]);
  }
}

}  // namespace

TEST("philox4x32-10 gives the known answers of Random123 (kat_vectors)") {
  expect_bits({{0, 0, 0, 0}}, {{0, 0}}, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  expect_bits({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, {{0xffffffff, 0xffffffff}},
              {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  expect_bits({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, {{0xa4093822, 0x299f31d0}},
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST("the key is the seed, then stream, layer and site in one word") {
  const auto key = steadytune::philox_key(0xDEADBEEF, 4, 0x1234, 3);
  EXPECT_EQUAL(key.word[0], 0xDEADBEEFu);
  EXPECT_EQUAL(key.word[1], 0x04123403u);
}

TEST("lanes are 16 bits, the low half of a word first") {
  const PhiloxBlock block{{0x22221111, 0x44443333, 0x66665555, 0x88887777}};
  for (int lane = 0; lane < 8; ++lane) {
    EXPECT_EQUAL(steadytune::philox_lane(block, lane), 0x1111u * (lane + 1));
  }
}
