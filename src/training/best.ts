import type { Scores } from "./result.js";

export interface Best {
  /** The step after which it stood. */
  step: number;
  validation: Scores;
}

/**
 * Whether `candidate` takes the place of the best so far: strictly better wins, so of equals the first stays (paper's
 * code). The first is always taken, even when its score is not a number, so that every run has a best.
 */
export function isBetter(metric: string, candidate: Scores, best: Best | null): boolean {
  if (best === null) return true;
  const ours = candidate[metric] ?? NaN;
  const theirs = best.validation[metric] ?? NaN;
  return ours > theirs || (Number.isNaN(theirs) && !Number.isNaN(ours));
}
