import { epochBatches, packBatch } from "../data/batches.js";
import type { EncodedSplit } from "../data/encoded.js";
import type { PackedBatch } from "../native/types.js";
import { stepsPerEpoch } from "./schedule.js";

/**
 * The rows of every step, found from the step's number alone: nothing about the order has to be saved. Keeps the order
 * of one epoch.
 */
export class StepBatches {
  readonly #split: EncodedSplit;
  readonly #options: { batchSize: number; accumulation: number; orderSeed: number };
  #epoch = -1;
  #batches: Int32Array[] = [];

  constructor(split: EncodedSplit, options: { batchSize: number; accumulation: number; orderSeed: number }) {
    this.#split = split;
    this.#options = options;
  }

  get stepsPerEpoch(): number {
    return stepsPerEpoch(this.#rows, this.#options.batchSize);
  }

  /** From 0. `step` counts from 1. */
  epochOf(step: number): number {
    return Math.floor((step - 1) / this.stepsPerEpoch);
  }

  /** The rows of a step, cut into `accumulation` parts of nearly equal size; a part is never empty. */
  parts(step: number): PackedBatch[] {
    const { batchSize, accumulation, orderSeed } = this.#options;
    const epoch = this.epochOf(step);
    if (epoch !== this.#epoch) {
      this.#batches = epochBatches(this.#rows, batchSize, { seed: orderSeed, epoch });
      this.#epoch = epoch;
    }
    const rows = this.#batches[(step - 1) % this.stepsPerEpoch] ?? new Int32Array();
    const partRows = Math.ceil(rows.length / accumulation);
    const parts: PackedBatch[] = [];
    for (let at = 0; at < rows.length; at += partRows) {
      parts.push(packBatch(this.#split, rows.subarray(at, at + partRows)));
    }
    return parts;
  }

  get #rows(): number {
    return this.#split.rowNumbers.length;
  }
}

export function tokensIn(parts: readonly PackedBatch[]): number {
  return parts.reduce((tokens, part) => tokens + part.tokenIds.length, 0);
}
