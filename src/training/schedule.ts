/**
 * The factor on the peak learning rate after `t` steps: a linear rise over the first `int(warmup * steps)` steps, then
 * a linear fall to 0 at `steps` (paper, Sec. 3). In [0, 1].
 */
export function scheduleFactor(t: number, steps: number, warmup: number): number {
  const warmupSteps = Math.floor(warmup * steps);
  if (t < warmupSteps) return t / warmupSteps;
  return Math.max(0, steps - t) / Math.max(1, steps - warmupSteps);
}

/**
 * The learning rate that step `step` (from 1) uses. It is the factor after `step - 1` steps, as PyTorch's schedulers
 * have it: with warm-up the first step does not move the weights.
 */
export function learningRate(step: number, schedule: { peak: number; steps: number; warmup: number }): number {
  return schedule.peak * scheduleFactor(step - 1, schedule.steps, schedule.warmup);
}

/** Steps of one pass over `rows`; the last, smaller batch counts. */
export function stepsPerEpoch(rows: number, batchSize: number): number {
  return Math.ceil(rows / batchSize);
}

/** The length of a run in optimizer steps: `steps` as given, or whole passes over the training rows. */
export function totalSteps(length: { steps?: number | null; epochs?: number | null }, perEpoch: number): number {
  return length.steps ?? Math.max(1, Math.round((length.epochs ?? 3) * perEpoch));
}
