/**
 * Draws for the generator, from the project's own counter-based Philox4x32-10: the same seed and name give the same
 * sentences on every machine and Node version.
 */
import { philox4x32 } from "../../dist/random/philox.js";

const drawsPerBlock = 4;

export class Draws {
  #key;
  #block = [];
  #used = 0;

  /** @param {number} seed 0 .. 2^32 - 1 @param {number} stream tells sets apart that share the seed */
  constructor(seed, stream) {
    this.#key = [seed, stream];
  }

  /** A word of 32 random bits. */
  #word() {
    const place = this.#used % drawsPerBlock;
    if (place === 0) this.#block = philox4x32([Math.floor(this.#used / drawsPerBlock), 0, 0, 0], this.#key);
    this.#used += 1;
    return this.#block[place];
  }

  /** An integer in 0 .. bound - 1. The bounds here are tiny beside 2^32, so the bias of the product is below 1e-7. */
  below(bound) {
    return Math.floor((this.#word() / 2 ** 32) * bound);
  }

  chance(probability) {
    return this.#word() / 2 ** 32 < probability;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** `count` different entries of the list, in random order. */
  sample(list, count) {
    const left = [...list];
    return Array.from({ length: count }, () => left.splice(this.below(left.length), 1)[0]);
  }
}
