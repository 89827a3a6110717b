/** The rows of a split as token ids without padding, back to back; n rows, T tokens in all. */
export interface EncodedSplit {
  /** [T] */
  tokenIds: Int32Array;
  /** [T] */
  segmentIds: Int32Array;
  /** [n + 1], from 0 to T. */
  rowOffsets: Int32Array;
  /** [n] row numbers in the file, for the dropout stream and for predictions. */
  rowNumbers: Int32Array;
  /** [n] class indices (Int32Array) or scores (Float32Array); null where rows have no labels. */
  labels: Int32Array | Float32Array | null;
}

/** Lengths of encoded rows in tokens, special tokens included. */
export interface TokenLengths {
  min: number;
  median: number;
  mean: number;
  /** The smallest length that at least 95 % of the rows do not exceed. */
  p95: number;
  max: number;
  /** Rows that fill `maxLength` to the last token: those that were cut, and the few that fit exactly. */
  full: number;
}

/** @param split at least one row */
export function tokenLengths(split: EncodedSplit, maxLength: number): TokenLengths {
  const rows = split.rowNumbers.length;
  const lengths = new Int32Array(rows);
  for (let i = 0; i < rows; i++) lengths[i] = offsetAt(split, i + 1) - offsetAt(split, i);
  lengths.sort();
  const at = (index: number) => lengths[index] as number;
  return {
    min: at(0),
    median: (at(Math.floor((rows - 1) / 2)) + at(Math.floor(rows / 2))) / 2,
    mean: split.tokenIds.length / rows,
    p95: at(Math.ceil(rows * 0.95) - 1),
    max: at(rows - 1),
    full: lengths.reduce((count, length) => count + Number(length >= maxLength), 0),
  };
}

function offsetAt(split: EncodedSplit, index: number): number {
  return split.rowOffsets[index] as number;
}
