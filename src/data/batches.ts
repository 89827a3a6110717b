import type { PackedBatch } from "../native/types.js";
import { permutation } from "../random/permutation.js";
import type { EncodedSplit } from "./encoded.js";

/**
 * The batches of one training epoch: positions of all rows in the order stream's permutation. The last batch holds
 * what is left, as in the paper's released code.
 *
 * @param options.seed the order seed, 0 .. 2^32 - 1
 * @param options.epoch from 0
 */
export function epochBatches(rows: number, batchSize: number, options: { seed: number; epoch: number }): Int32Array[] {
  return slices(permutation(rows, options), batchSize);
}

/** Tokens from which on a forward pass gains nothing from being longer: matrix products are at their full rate. */
const tokensOfFullRate = 2048;

/**
 * The batches of an evaluation: positions of all rows, in order. A batch has `batchSize` rows, and more where all of
 * them are no more than 2,048 tokens.
 */
export function evaluationBatches({ rowOffsets }: Pick<EncodedSplit, "rowOffsets">, batchSize: number): Int32Array[] {
  checkSize(batchSize);
  const rows = rowOffsets.length - 1;
  const batches: Int32Array[] = [];
  let begin = 0;
  while (begin < rows) {
    const first = begin;
    const limit = (rowOffsets[first] as number) + tokensOfFullRate;
    begin = Math.min(first + batchSize, rows);
    while (begin < rows && (rowOffsets[begin + 1] as number) <= limit) begin++;
    batches.push(Int32Array.from({ length: begin - first }, (_, i) => first + i));
  }
  return batches;
}

function checkSize(size: number): void {
  if (!Number.isInteger(size) || size < 1) throw new RangeError(`a batch has 1 row or more, not ${size}`);
}

function slices(order: Int32Array, size: number): Int32Array[] {
  checkSize(size);
  return Array.from({ length: Math.ceil(order.length / size) }, (_, i) => order.subarray(i * size, (i + 1) * size));
}

/** Copies the rows at `positions` (0 .. n - 1, in this order, repeats allowed) into one packed batch. */
export function packBatch(split: EncodedSplit, positions: ArrayLike<number>): PackedBatch {
  const rows = positions.length;
  const rowOffsets = new Int32Array(rows + 1);
  const starts = new Int32Array(rows);
  for (let i = 0; i < rows; i++) {
    const position = positions[i] as number;
    const start = split.rowOffsets[position];
    const end = split.rowOffsets[position + 1];
    if (start === undefined || end === undefined) {
      throw new RangeError(`row ${position} is not among the ${split.rowNumbers.length} rows of this split`);
    }
    starts[i] = start;
    rowOffsets[i + 1] = (rowOffsets[i] as number) + end - start;
  }

  const tokens = rowOffsets[rows] as number;
  const batch = {
    tokenIds: new Int32Array(tokens),
    segmentIds: new Int32Array(tokens),
    rowOffsets,
    rowNumbers: new Int32Array(rows),
    labels: split.labels === null ? null : emptyLike(split.labels, rows),
  };
  for (let i = 0; i < rows; i++) {
    const position = positions[i] as number;
    const start = starts[i] as number;
    const target = rowOffsets[i] as number;
    const end = start + (rowOffsets[i + 1] as number) - target;
    batch.tokenIds.set(split.tokenIds.subarray(start, end), target);
    batch.segmentIds.set(split.segmentIds.subarray(start, end), target);
    batch.rowNumbers[i] = split.rowNumbers[position] as number;
    if (batch.labels !== null) batch.labels[i] = split.labels?.[position] as number;
  }
  return batch;
}

function emptyLike(labels: Int32Array | Float32Array, length: number): Int32Array | Float32Array {
  return labels instanceof Int32Array ? new Int32Array(length) : new Float32Array(length);
}
