/**
 * The steps after which a run is evaluated, rising, the last one always `steps`.
 *
 * "paper": `count` evenly spaced ones; after every step when there are fewer steps than that (paper, Sec. 3: ten).
 * "released": every `floor(steps / count)` steps and the last: mostly one more than `count`, as the paper's code does.
 */
export function evaluationPoints(steps: number, count: number, protocol: "paper" | "released"): number[] {
  if (steps <= count) return Array.from({ length: steps }, (_, i) => i + 1);
  if (protocol === "paper") {
    return Array.from({ length: count }, (_, i) => Math.round(((i + 1) * steps) / count));
  }
  const every = Math.floor(steps / count);
  const points = Array.from({ length: Math.floor(steps / every) }, (_, i) => (i + 1) * every);
  return points.at(-1) === steps ? points : [...points, steps];
}
