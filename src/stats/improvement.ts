/**
 * Probability of improvement (Agarwal et al. 2021, arXiv 2108.13264): how often a run of `a` beats one of `b` when both
 * are picked at random; equal scores count half. It is the Mann-Whitney statistic over the number of pairs.
 *
 * @returns in [0, 1]; NaN where either is empty
 */
export function probabilityOfImprovement(a: readonly number[], b: readonly number[]): number {
  let wins = 0;
  for (const one of a) for (const other of b) wins += one > other ? 1 : one === other ? 0.5 : 0;
  return wins / (a.length * b.length);
}
