/**
 * How many times larger Adam's update at step `step` (from 1) is without bias correction than with it, eps left aside:
 * (1 - b1^t) / sqrt(1 - b2^t) (paper, Figure 1). With the usual betas it peaks at 6.57 in step 12 and falls to 1.
 */
export function biasRatio(step: number, [beta1, beta2]: readonly number[]): number {
  return (1 - (beta1 ?? 0) ** step) / Math.sqrt(1 - (beta2 ?? 0) ** step);
}
