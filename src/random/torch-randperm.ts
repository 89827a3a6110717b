import { Mt19937 } from "./mt19937.js";

/** From here on libtorch draws 64 bits per element. */
const limit = Math.floor(0xffffffff / 20);

/**
 * `torch.manual_seed(seed); torch.randperm(n)` on the CPU: Fisher-Yates from the front, one 32-bit word per element,
 * reduced by a plain remainder (which is slightly biased, and part of what is reproduced).
 *
 * @param n 0 .. 214748363
 * @param seed an integer 0 .. 2^32 - 1
 */
export function torchRandperm(n: number, seed: number): Int32Array {
  if (!Number.isInteger(n) || n < 0 || n >= limit) {
    throw new RangeError(`torchRandperm reproduces torch.randperm for 0 <= n < ${limit}, not for ${n}`);
  }
  const engine = new Mt19937(seed);
  const order = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = 0; i < n - 1; i++) {
    const j = i + (engine.next() % (n - i));
    const kept = order[i] as number;
    order[i] = order[j] as number;
    order[j] = kept;
  }
  return order;
}
