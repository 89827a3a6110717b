import type { MetricName } from "../data/task.js";
import { accuracy, countConfusion, f1, matthews } from "./confusion.js";
import type { Labels, ScoredTask } from "./metrics.js";

/** A regression run below this correlation has learnt nothing (paper, Sec. 4: runs that collapse). */
export const leastCorrelation = 0.1;

/**
 * Scores of always predicting the most frequent class of these labels, the first of equally frequent ones; for
 * regression of always predicting one value, whose correlation counts as 0. Without rows: {}.
 */
export function majorityBaseline(task: ScoredTask, labels: Labels): Record<string, number> {
  if (labels.length === 0) return {};
  if (task.problem === "regression") return { spearman: 0, pearson: 0 };
  const classes = task.labels.length;
  const wanted = Int32Array.from(labels);
  const frequencies = new Array<number>(classes).fill(0);
  for (const label of wanted) frequencies[label]! += 1;
  const majority = frequencies.indexOf(Math.max(...frequencies));
  const confusion = countConfusion(new Int32Array(wanted.length).fill(majority), wanted, classes);
  return { accuracy: accuracy(confusion), f1: f1(confusion), matthews: matthews(confusion) };
}

/**
 * True when a run is no better than always predicting the majority class of the rows it was scored on; for regression
 * when the metric is below 0.1.
 *
 * @param scores as `metrics` returns them for these labels
 */
export function isDegenerate(
  task: ScoredTask,
  metric: MetricName,
  scores: Readonly<Record<string, number>>,
  labels: Labels,
): boolean {
  const score = scores[metric];
  if (score === undefined) throw new RangeError(`the scores hold no ${metric}`);
  if (task.problem === "regression") return !(score >= leastCorrelation);
  const baseline = majorityBaseline(task, labels)[metric];
  return baseline !== undefined && !(score > baseline);
}
