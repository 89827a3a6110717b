/** Four 32-bit words. */
export type PhiloxCounter = readonly [number, number, number, number];
/** Two 32-bit words. */
export type PhiloxKey = readonly [number, number];

/** Numbers of the random streams, equal to those of the C++ side. TypeScript draws `order` and `bootstrap`. */
export const streams = { classifierInit: 1, reinit: 2, order: 3, dropout: 4, mixout: 5, bootstrap: 6 } as const;

export type Stream = keyof typeof streams;

const multipliers = [0xd2511f53, 0xcd9e8d57] as const;
const keyIncrements = [0x9e3779b9, 0xbb67ae85] as const;
const rounds = 10;

/**
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a pure function from counter and
 * key to 128 random bits, so that no generator state has to be saved.
 *
 * @returns four integers 0 .. 2^32 - 1
 */
export function philox4x32(counter: PhiloxCounter, key: PhiloxKey): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < rounds; round++) {
    const high0 = multiplyHigh(multipliers[0], c0);
    const low0 = Math.imul(multipliers[0], c0);
    const high1 = multiplyHigh(multipliers[1], c2);
    const low1 = Math.imul(multipliers[1], c2);
    [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
    k0 = (k0 + keyIncrements[0]) | 0;
    k1 = (k1 + keyIncrements[1]) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/**
 * The key of a stream.
 *
 * @param seed an integer 0 .. 2^32 - 1
 * @param layer the block's number, 0 where there is none
 * @param site the place inside a layer, 0 .. 255
 */
export function streamKey(seed: number, stream: Stream, layer = 0, site = 0): PhiloxKey {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
    throw new RangeError(`a seed is an integer from 0 to 4294967295, not ${seed}`);
  }
  return [seed, ((streams[stream] << 24) | (layer << 8) | site) >>> 0];
}

/** The upper 32 bits of a 32 x 32 bit product; doubles hold 53 bits, so it is made of 16-bit halves. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carried = aLow * bHigh + (middle & 0xffff);
  return aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carried / 0x10000);
}
