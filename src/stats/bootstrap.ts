import { philox4x32, streamKey } from "../random/philox.js";
import { quantile } from "./summary.js";

export interface BootstrapOptions {
  /** Keys the draws, 0 .. 2^32 - 1: the same seed gives the same interval. */
  seed: number;
  /** How many samples are drawn; 1000 unless told. */
  draws?: number;
  /** The share of the draws that lies inside the interval; 0.95 unless told. */
  level?: number;
}

/**
 * Percentile bootstrap interval (Efron 1979) of a score over rows: as many rows as there are are drawn with
 * replacement, the score is taken over them, and the interval holds the middle `level` of the scores.
 *
 * @param rowCount rows in all, at least 1
 * @param score of a choice of row numbers 0 .. rowCount - 1; the array is used again for the next draw
 * @returns [low, high]
 */
export function bootstrapInterval(
  rowCount: number,
  score: (rows: Int32Array) => number,
  { seed, draws = 1000, level = 0.95 }: BootstrapOptions,
): [number, number] {
  if (!Number.isInteger(rowCount) || rowCount < 1) throw new RangeError(`no interval over ${rowCount} rows`);
  const key = streamKey(seed, "bootstrap");
  const rows = new Int32Array(rowCount);
  const scores = new Float64Array(draws);
  for (let draw = 0; draw < draws; draw++) {
    for (let i = 0; i < rowCount; i += 4) {
      const words = philox4x32([draw, i / 4, 0, 0], key);
      const last = Math.min(4, rowCount - i);
      // The multiplication favours some rows by at most rowCount / 2^32, far below what an interval shows.
      for (let lane = 0; lane < last; lane++) rows[i + lane] = Math.floor((words[lane]! / 0x100000000) * rowCount);
    }
    scores[draw] = score(rows);
  }
  return [quantile(scores, (1 - level) / 2), quantile(scores, (1 + level) / 2)];
}

/** The same for a statistic of a sample, such as the mean over runs: the values are drawn with replacement. */
export function sampleInterval(
  values: readonly number[],
  statistic: (sample: readonly number[]) => number,
  options: BootstrapOptions,
): [number, number] {
  const sample = new Array<number>(values.length);
  const score = (rows: Int32Array): number => {
    for (let i = 0; i < rows.length; i++) sample[i] = values[rows[i]!]!;
    return statistic(sample);
  };
  return bootstrapInterval(values.length, score, options);
}
