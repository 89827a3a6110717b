import test from "ava";
import { philox4x32, streamKey, streams } from "#src/random/philox.js";

const word = (hex: string) => Number.parseInt(hex, 16);
const words = (hex: string) => hex.split(" ").map(word);

// The philox4x32 lines with 10 rounds of Random123's kat_vectors: counter, key, expected.
const knownAnswers = [
  ["00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
  ["ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"],
  ["243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"],
] as const;

for (const [counter, key, expected] of knownAnswers) {
  test(`Philox4x32-10 gives Random123's known answer for counter ${counter}`, (t) => {
    const [c0 = 0, c1 = 0, c2 = 0, c3 = 0] = words(counter);
    const [k0 = 0, k1 = 0] = words(key);
    t.deepEqual(philox4x32([c0, c1, c2, c3], [k0, k1]), words(expected));
  });
}

test("a stream's key holds the seed, then stream, layer and site in one word", (t) => {
  t.deepEqual(streamKey(7, "mixout", 3, 2), [7, 0x05000302]);
  t.deepEqual(streamKey(4294967295, "order"), [4294967295, 0x03000000]);
});

test("the numbers of the streams never change, since they decide every result", (t) => {
  t.deepEqual(streams, { classifierInit: 1, reinit: 2, order: 3, dropout: 4, mixout: 5, bootstrap: 6 });
});

test("a seed outside 0 .. 2^32 - 1 is refused", (t) => {
  for (const seed of [-1, 4294967296, 0.5, Number.NaN]) {
    t.throws(() => streamKey(seed, "order"), { instanceOf: RangeError, message: /from 0 to 4294967295/ });
  }
});
