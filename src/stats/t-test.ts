import cdf from "@stdlib/stats-base-dists-t-cdf";

import { mean, variance } from "./summary.js";

export interface TTestOptions {
  /** "less": mean(a) < mean(b); "greater": mean(a) > mean(b). */
  alternative: "less" | "greater" | "two-sided";
  /** "pooled": Student's, with one variance for both; "welch": each its own. */
  variances: "pooled" | "welch";
}

export interface TTest {
  /** Positive where the mean of `a` is the larger one. */
  t: number;
  degreesOfFreedom: number;
  /** NaN where a sample has fewer than two values, or both are constant and equal. */
  p: number;
}

/** Two-sample t-test of independent samples; the paper marks a method by the one-tailed test at p < 0.05 (Table 1). */
export function tTest(a: readonly number[], b: readonly number[], { alternative, variances }: TTestOptions): TTest {
  const [nA, nB] = [a.length, b.length];
  const [varianceA, varianceB] = [variance(a), variance(b)];
  let squaredError: number;
  let degreesOfFreedom: number;
  if (variances === "pooled") {
    degreesOfFreedom = nA + nB - 2;
    const pooled = ((nA - 1) * varianceA + (nB - 1) * varianceB) / degreesOfFreedom;
    squaredError = pooled * (1 / nA + 1 / nB);
  } else {
    const [errorA, errorB] = [varianceA / nA, varianceB / nB];
    squaredError = errorA + errorB;
    degreesOfFreedom = squaredError ** 2 / (errorA ** 2 / (nA - 1) + errorB ** 2 / (nB - 1));
  }
  const t = (mean(a) - mean(b)) / Math.sqrt(squaredError);
  return { t, degreesOfFreedom, p: pValue(t, degreesOfFreedom, alternative) };
}

function pValue(t: number, degreesOfFreedom: number, alternative: TTestOptions["alternative"]): number {
  switch (alternative) {
    case "less":
      return cdf(t, degreesOfFreedom);
    case "greater":
      return cdf(-t, degreesOfFreedom);
    case "two-sided":
      return 2 * cdf(-Math.abs(t), degreesOfFreedom);
  }
}
