import cdf from "@stdlib/stats-base-dists-t-cdf";

import { mean, std, variance } from "./summary.js";

export type Alternative = "less" | "greater" | "two-sided";

export interface TTestOptions {
  /** "less": mean(a) < mean(b); "greater": mean(a) > mean(b). */
  alternative: Alternative;
  /** "pooled": Student's, with one variance for both; "welch": each its own. */
  variances: "pooled" | "welch";
}

export interface TTest {
  /** Positive where the mean of `a` is the larger one. */
  t: number;
  degreesOfFreedom: number;
  /** NaN where there is no deviation to measure by: too few values, or constants that are equal. 0 or 1 for unequal ones. */
  p: number;
}

/** What a paper prints of a sample. */
export interface SampleSummary {
  mean: number;
  /** Of the sample (ddof 1). */
  std: number;
  n: number;
}

/** Two-sample t-test of independent samples; the paper marks a method by the one-tailed test at p < 0.05 (Table 1). */
export function tTest(a: readonly number[], b: readonly number[], options: TTestOptions): TTest {
  const summary = (values: readonly number[]): SampleSummary => ({
    mean: mean(values),
    std: std(values),
    n: values.length,
  });
  return tTestOfSummaries(summary(a), summary(b), options);
}

/** The same test from means and deviations alone, such as printed ones. */
export function tTestOfSummaries(a: SampleSummary, b: SampleSummary, { alternative, variances }: TTestOptions): TTest {
  let squaredError: number;
  let degreesOfFreedom: number;
  if (variances === "pooled") {
    degreesOfFreedom = a.n + b.n - 2;
    // A single value has no deviation, and takes on that of the other sample.
    const squares = ({ std: deviation, n }: SampleSummary): number => (n === 1 ? 0 : (n - 1) * deviation ** 2);
    const pooled = (squares(a) + squares(b)) / degreesOfFreedom;
    squaredError = pooled * (1 / a.n + 1 / b.n);
  } else {
    const [errorA, errorB] = [a.std ** 2 / a.n, b.std ** 2 / b.n];
    squaredError = errorA + errorB;
    // Without any variance the formula is 0 / 0; t is then infinite, and any number of degrees gives the same p.
    degreesOfFreedom = squaredError === 0 ? 1 : squaredError ** 2 / (errorA ** 2 / (a.n - 1) + errorB ** 2 / (b.n - 1));
  }
  const t = (a.mean - b.mean) / Math.sqrt(squaredError);
  return { t, degreesOfFreedom, p: pValue(t, degreesOfFreedom, alternative) };
}

/**
 * Paired t-test: whether the mean of the differences a[i] - b[i] is zero. Runs that share a seed share their data order
 * and the first weights of their classifier, which makes them pairs.
 *
 * @param a, b of one length
 */
export function pairedTTest(a: readonly number[], b: readonly number[], alternative: Alternative): TTest {
  if (a.length !== b.length) throw new RangeError(`${a.length} values are paired with ${b.length}`);
  const differences = a.map((value, i) => value - (b[i] as number));
  const degreesOfFreedom = a.length - 1;
  const t = mean(differences) / Math.sqrt(variance(differences) / a.length);
  return { t, degreesOfFreedom, p: pValue(t, degreesOfFreedom, alternative) };
}

function pValue(t: number, degreesOfFreedom: number, alternative: Alternative): number {
  switch (alternative) {
    case "less":
      return cdf(t, degreesOfFreedom);
    case "greater":
      return cdf(-t, degreesOfFreedom);
    case "two-sided":
      return 2 * cdf(-Math.abs(t), degreesOfFreedom);
  }
}
