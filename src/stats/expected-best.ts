import { philox4x32, streamKey } from "../random/philox.js";
import { mean, std } from "./summary.js";

/** What one run scores: on the rows that runs are chosen by, and on those that count. */
export interface ScoredRun {
  validation: number;
  test: number;
}

export interface ExpectedScore {
  mean: number;
  /** Of the score that the chosen run has, from one choice to the next; no error of `mean`. */
  std: number;
}

/**
 * The test score to expect when `k` runs are made and the best on validation is taken, estimated from the runs at hand.
 *
 * "with replacement" is the closed form of drawing k of the runs again and again (Dodge et al. 2019, arXiv 1909.03004,
 * for the score that is chosen by; here the chosen run's test score is weighed): what the paper's bootstrap comes to
 * with ever more draws. It is biased, too low where more runs help.
 * "without replacement" averages over all subsets of k different runs, which has no bias (Tang et al. 2020, arXiv
 * 2004.13705).
 *
 * Runs that are equal on validation are chosen equally often.
 *
 * @param k at least 1; without replacement at most the number of runs
 */
export function expectedBest(
  runs: readonly ScoredRun[],
  k: number,
  draws: "with replacement" | "without replacement",
): ExpectedScore {
  const n = runs.length;
  if (!Number.isInteger(k) || k < 1) throw new RangeError(`no best of ${k} runs`);
  if (draws === "without replacement" && k > n) throw new RangeError(`there are no ${k} different runs among ${n}`);
  /** How likely it is that all k are among the worst m. */
  const among = draws === "with replacement" ? (m: number) => (m / n) ** k : (m: number) => subsets(m, n, k);
  const sorted = [...runs].sort((a, b) => a.validation - b.validation);
  const weights = new Array<number>(n).fill(0);
  for (let begin = 0; begin < n;) {
    let end = begin + 1;
    while (end < n && sorted[end]!.validation === sorted[begin]!.validation) end += 1;
    weights.fill((among(end) - among(begin)) / (end - begin), begin, end);
    begin = end;
  }
  const middle = weights.reduce((sum, weight, i) => sum + weight * sorted[i]!.test, 0);
  const variance = weights.reduce((sum, weight, i) => sum + weight * (sorted[i]!.test - middle) ** 2, 0);
  return n === 0 ? { mean: NaN, std: NaN } : { mean: middle, std: Math.sqrt(variance) };
}

/** (m choose k) / (n choose k), without factorials. */
function subsets(m: number, n: number, k: number): number {
  let share = 1;
  for (let i = 0; i < k; i++) share *= Math.max(0, m - i) / (n - i);
  return share;
}

/**
 * The paper's own estimate (Sec. 4, Figure 4): draw k of the runs with replacement, take the best on validation, note
 * its test score, `draws` times over.
 *
 * @param options.seed keys the draws: the same seed gives the same numbers
 */
export function bootstrapBest(
  runs: readonly ScoredRun[],
  k: number,
  { seed, draws = 1000 }: { seed: number; draws?: number },
): ExpectedScore {
  if (!Number.isInteger(k) || k < 1) throw new RangeError(`no best of ${k} runs`);
  if (runs.length === 0) return { mean: NaN, std: NaN };
  const key = streamKey(seed, "bootstrap");
  const scores = Array.from({ length: draws }, (_, draw) => {
    let best: ScoredRun | null = null;
    for (let i = 0; i < k; i += 4) {
      const words = philox4x32([draw, i / 4, k, 0], key);
      for (const word of words.slice(0, k - i)) {
        const run = runs[Math.floor((word / 0x100000000) * runs.length)]!;
        if (best === null || run.validation > best.validation) best = run;
      }
    }
    return best!.test;
  });
  return { mean: mean(scores), std: std(scores) };
}
