import { labelsOf } from "./examples.js";
import type { Example, SplitName, TaskData, TaskInfo } from "./task.js";

/** What a task holds, for people who are about to train on it. */
export interface TaskDescription {
  task: TaskInfo;
  splits: SplitDescription[];
  /** A few training rows of each class, or the first few of a regression task. */
  samples: Sample[];
  notes: string[];
}

export interface SplitDescription {
  name: SplitName;
  source: string;
  rows: number;
  /** Rows of each class, in index order; empty for regression. */
  labels: { label: string; rows: number }[];
  /** What always predicting the most frequent class scores; null for regression. */
  majority: { label: string; accuracy: number; f1?: number } | null;
  /** Scores of a regression task; null for classification. */
  scores: { min: number; mean: number; max: number } | null;
}

export interface Sample {
  row: number;
  text: string;
  pair: string | null;
  /** Class name or score. */
  label: string | number | null;
}

const samplesPerClass = 2;

/** Rows, class counts and majority baselines of each split, and sample rows. */
export function describeTask({ task, notes, sources, ...splits }: TaskData): TaskDescription {
  const names: SplitName[] = ["train", "validation", "test"];
  return {
    task,
    splits: names.map((name) => describeSplit(task, name, sources[name], splits[name])),
    samples: samplesOf(task, splits.train),
    notes,
  };
}

function describeSplit(task: TaskInfo, name: SplitName, source: string, examples: Example[]): SplitDescription {
  const labelled = examples.filter(({ label }) => label !== null);
  const base = { name, source, rows: examples.length };
  if (task.problem === "regression") {
    return { ...base, labels: [], majority: null, scores: describeScores(labelsOf(labelled)) };
  }
  const counts = task.labels.map((label, index) => ({
    label,
    rows: labelled.reduce((count, example) => count + Number(example.label === index), 0),
  }));
  return { ...base, labels: counts, majority: majorityOf(task, counts, labelled.length), scores: null };
}

function majorityOf(task: TaskInfo, counts: SplitDescription["labels"], rows: number): SplitDescription["majority"] {
  if (rows === 0) return null;
  const most = counts.reduce((best, entry) => (entry.rows > best.rows ? entry : best));
  const majority = { label: most.label, accuracy: most.rows / rows };
  if (task.metric !== "f1") return majority;
  // All predictions are positive or none is: F1 is 2p / (n + p) with p positive rows, or 0.
  return { ...majority, f1: most === counts[1] ? (2 * most.rows) / (rows + most.rows) : 0 };
}

function describeScores(scores: number[]): SplitDescription["scores"] {
  if (scores.length === 0) return null;
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  for (const score of scores) {
    min = Math.min(min, score);
    max = Math.max(max, score);
    sum += score;
  }
  return { min, mean: sum / scores.length, max };
}

function samplesOf(task: TaskInfo, train: Example[]): Sample[] {
  const chosen =
    task.problem === "regression"
      ? train.slice(0, 2 * samplesPerClass)
      : task.labels.flatMap((_, index) => train.filter(({ label }) => label === index).slice(0, samplesPerClass));
  return chosen.map(({ row, text, pair, label }) => ({
    row,
    text,
    pair,
    label: label === null || task.problem === "regression" ? label : (task.labels[label] ?? null),
  }));
}
