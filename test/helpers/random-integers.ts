/** Marsaglia's xorshift32: the same numbers for the same seed, so that a failure can be had again. */
export function randomIntegers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
