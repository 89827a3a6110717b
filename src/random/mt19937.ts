const stateLength = 624;
const shift = 397;

/**
 * The Mersenne Twister with the seeding by one 32-bit integer that NumPy's legacy generator and libtorch's CPU
 * generator share (Matsumoto and Nishimura 1998, `init_genrand`).
 */
export class Mt19937 {
  readonly #state = new Uint32Array(stateLength);
  #position = stateLength;

  /** `seed`: an integer 0 .. 2^32 - 1. */
  constructor(seed: number) {
    if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
      throw new RangeError(`a seed is an integer from 0 to 4294967295, not ${seed}`);
    }
    let word = seed >>> 0;
    for (let i = 0; i < stateLength; i++) {
      this.#state[i] = word;
      word = (Math.imul(1812433253, word ^ (word >>> 30)) + i + 1) >>> 0;
    }
  }

  /** The next 32 random bits as an integer 0 .. 2^32 - 1. */
  next(): number {
    if (this.#position === stateLength) {
      this.#twist();
      this.#position = 0;
    }
    let word = this.#word(this.#position++);
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    word ^= word >>> 18;
    return word >>> 0;
  }

  #twist(): void {
    for (let i = 0; i < stateLength; i++) {
      const mixed = (this.#word(i) & 0x80000000) | (this.#word((i + 1) % stateLength) & 0x7fffffff);
      const twisted = (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
      this.#state[i] = this.#word((i + shift) % stateLength) ^ twisted;
    }
  }

  #word(index: number): number {
    return this.#state[index] as number;
  }
}
