import type { MetricName, TaskInfo } from "../data/task.js";
import { accuracy, countConfusion, f1, matthews, type Confusion } from "./confusion.js";
import { pearson, placesOf, spearman } from "./correlation.js";

/** What of a task decides how it is scored. */
export type ScoredTask = Pick<TaskInfo, "problem" | "labels">;

/** Class indices for classification, scores for regression; one per row. */
export type Labels = ArrayLike<number>;

/** Outputs of the classifier, row by row: float32 from the engine, or float64. */
export type Logits = Float32Array | Float64Array;

/** A metric over a choice of rows, in which a row may be named more than once. */
export type RowScorer = (rows: Int32Array) => number;

const confusionMetrics = { accuracy, f1, matthews } as const;

/** The metrics of a problem, each the better the higher; `loss` comes on top of them. */
export function metricNames(problem: ScoredTask["problem"]): MetricName[] {
  return problem === "classification" ? ["accuracy", "f1", "matthews"] : ["spearman", "pearson"];
}

/**
 * Scores by name: accuracy, f1, matthews and loss (mean cross-entropy, nats) for classification; spearman, pearson and
 * loss (mean squared error) for regression. Without rows there are no scores: {}.
 *
 * @param logits [rows * outputs], outputs being the number of labels, or 1 for regression
 */
export function metrics(task: ScoredTask, logits: Logits, labels: Labels): Record<string, number> {
  checkShape(task, logits, labels);
  if (labels.length === 0) return {};
  const rows = Int32Array.from({ length: labels.length }, (_, row) => row);
  const scores = metricNames(task.problem).map((name) => [name, rowScorer(task, name, logits, labels)(rows)]);
  return { ...Object.fromEntries(scores), loss: loss(task, logits, labels) };
}

/** One metric, prepared for being asked many times over different rows, as a bootstrap does. */
export function rowScorer(task: ScoredTask, metric: MetricName, logits: Logits, labels: Labels): RowScorer {
  checkShape(task, logits, labels);
  switch (metric) {
    case "accuracy":
    case "f1":
    case "matthews": {
      const classes = task.labels.length;
      const predicted = predictedClasses(logits, classes);
      const wanted = Int32Array.from(labels);
      const score: (confusion: Confusion) => number = confusionMetrics[metric];
      return (rows) => score(countConfusion(predicted, wanted, classes, rows));
    }
    case "spearman": {
      const predicted = placesOf(logits);
      const wanted = placesOf(labels);
      return (rows) => spearman(predicted, wanted, rows);
    }
    case "pearson": {
      return (rows) =>
        pearson(
          Float64Array.from(rows, (row) => logits[row]!),
          Float64Array.from(rows, (row) => labels[row]!),
        );
    }
  }
}

/** The class with the highest logit of each row, the first of equal ones. */
export function predictedClasses(logits: Logits, classes: number): Int32Array {
  const predicted = new Int32Array(logits.length / classes);
  for (let row = 0; row < predicted.length; row++) {
    let best = 0;
    for (let index = 1; index < classes; index++) {
      if (logits[row * classes + index]! > logits[row * classes + best]!) best = index;
    }
    predicted[row] = best;
  }
  return predicted;
}

function loss(task: ScoredTask, logits: Logits, labels: Labels): number {
  const classes = task.labels.length;
  let total = 0;
  for (let row = 0; row < labels.length; row++) {
    total +=
      task.problem === "classification"
        ? crossEntropy(logits, row * classes, classes, labels[row]!)
        : (logits[row]! - labels[row]!) ** 2;
  }
  return total / labels.length;
}

function crossEntropy(logits: Logits, offset: number, classes: number, label: number): number {
  // The largest logit is taken out first, so that no exponential overflows.
  let highest = -Infinity;
  for (let index = 0; index < classes; index++) highest = Math.max(highest, logits[offset + index]!);
  let sum = 0;
  for (let index = 0; index < classes; index++) sum += Math.exp(logits[offset + index]! - highest);
  return highest + Math.log(sum) - logits[offset + label]!;
}

function checkShape(task: ScoredTask, logits: Logits, labels: Labels): void {
  const outputs = task.problem === "classification" ? task.labels.length : 1;
  if (logits.length !== labels.length * outputs) {
    throw new RangeError(
      `${labels.length} rows of ${outputs} outputs need ${labels.length * outputs} logits, not ${logits.length}`,
    );
  }
}
