import { Mt19937 } from "./mt19937.js";

/**
 * NumPy's legacy `RandomState(seed)`, as far as the paper's splits need it: NumPy has frozen these streams, so they
 * are the same in every version.
 */
export class LegacyRandomState {
  readonly #engine: Mt19937;

  /** `seed`: an integer 0 .. 2^32 - 1. */
  constructor(seed: number) {
    this.#engine = new Mt19937(seed);
  }

  /** Shuffles in place, drawing as `RandomState.shuffle` does for lists and for arrays of one dimension. */
  shuffle<T>(array: T[]): void {
    for (let i = array.length - 1; i > 0; i--) {
      const j = this.#interval(i);
      const kept = array[i] as T;
      array[i] = array[j] as T;
      array[j] = kept;
    }
  }

  /** An integer 0 .. `max`: words are cut to the bits that `max` needs, and drawn again while they exceed it. */
  #interval(max: number): number {
    const mask = 0xffffffff >>> Math.clz32(max);
    for (;;) {
      const value = (this.#engine.next() & mask) >>> 0;
      if (value <= max) return value;
    }
  }
}
