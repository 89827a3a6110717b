import { philox4x32, streamKey } from "./philox.js";

/**
 * A permutation of 0 .. n - 1 from the order stream: the same in every process, on every machine.
 *
 * Fisher-Yates from the back; element `index` swaps with one of the first `index + 1`. Each bounded integer is exact:
 * words of the block with counter (epoch, index, attempt, 0) are tried in turn, and those past the last whole multiple
 * of the bound are rejected.
 *
 * @param n 0 .. 2^31 - 1
 * @param options.seed an integer 0 .. 2^32 - 1 (the order seed)
 * @param options.epoch the epoch, from 0
 */
export function permutation(n: number, options: { seed: number; epoch: number }): Int32Array {
  const key = streamKey(options.seed, "order");
  const order = Int32Array.from({ length: n }, (_, i) => i);
  for (let index = n - 1; index > 0; index--) {
    const other = boundedInteger(index + 1, (attempt) => philox4x32([options.epoch, index, attempt, 0], key));
    const kept = order[index] as number;
    order[index] = order[other] as number;
    order[other] = kept;
  }
  return order;
}

function boundedInteger(bound: number, block: (attempt: number) => readonly number[]): number {
  const limit = 0x100000000 - (0x100000000 % bound);
  for (let attempt = 0; ; attempt++) {
    for (const word of block(attempt)) {
      if (word < limit) return word % bound;
    }
  }
}
