import type { EncodedSplit } from "../data/encoded.js";
import type { TaskInfo } from "../data/task.js";
import { writeFileAtomic } from "../files/atomic.js";
import type { ScoredCheckpoint } from "./score.js";

/** What the model says about one input. */
export interface ClassPrediction {
  /** The most probable class. */
  label: string;
  /** By class, summing to 1. */
  probabilities: Record<string, number>;
}

export interface ScorePrediction {
  score: number;
}

export type Prediction = ClassPrediction | ScorePrediction;

/** One prediction per row of logits. */
export function predictionsOf(task: Pick<TaskInfo, "problem" | "labels">, logits: Float32Array): Prediction[] {
  if (task.problem === "regression") return Array.from(logits, (score) => ({ score }));
  const classes = task.labels.length;
  return Array.from({ length: logits.length / classes }, (_, row) => {
    const probabilities = softmax(logits.subarray(row * classes, (row + 1) * classes));
    const label = task.labels[probabilities.indexOf(Math.max(...probabilities))] ?? "";
    return { label, probabilities: Object.fromEntries(task.labels.map((name, i) => [name, probabilities[i] ?? 0])) };
  });
}

/** `predictions.jsonl`: what the best checkpoint says about every row of both halves, beside the label it should say. */
export async function writePredictions(
  path: string,
  task: TaskInfo,
  encoded: { validation: EncodedSplit; test: EncodedSplit },
  scored: ScoredCheckpoint,
): Promise<void> {
  const lines = (["validation", "test"] as const).flatMap((split) => {
    const { rowNumbers, labels } = encoded[split];
    return predictionsOf(task, scored[split].logits).map((prediction, i) => {
      const label = labels?.[i];
      const expected =
        label === undefined ? null : task.problem === "regression" ? label : (task.labels[label] ?? null);
      return JSON.stringify({ split, row: rowNumbers[i], expected, ...prediction });
    });
  });
  await writeFileAtomic(path, lines.map((line) => `${line}\n`).join(""));
}

function softmax(logits: Float32Array): number[] {
  const highest = Math.max(...logits);
  const weights = Array.from(logits, (logit) => Math.exp(logit - highest));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}
