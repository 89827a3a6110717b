import type { Problem } from "../native/types.js";

export type { Problem } from "../native/types.js";

/** Keys of the scores in every result; the one of a task selects its best checkpoint. */
export type MetricName = "accuracy" | "f1" | "matthews" | "spearman" | "pearson";

/** One labelled text or pair of texts. */
export interface Example {
  /** Row number in its file, from 0, the header not counted. */
  row: number;
  text: string;
  pair: string | null;
  /** Class index (classification) or score (regression); null where labels were not read. */
  label: number | null;
}

/** What a task is, without its rows. */
export interface TaskInfo {
  name: string;
  problem: Problem;
  /** Class names in index order; empty for regression. */
  labels: string[];
  /** Rows hold two texts. */
  pairs: boolean;
  metric: MetricName;
}

export type SplitName = "train" | "validation" | "test";

/** A task with its three splits, as training and evaluation see it. */
export interface TaskData {
  task: TaskInfo;
  train: Example[];
  validation: Example[];
  /** The same array as `validation` when both are the whole dev set. */
  test: Example[];
  /** Where each split came from, for people: a path and, where it was cut, the part of it. */
  sources: Record<SplitName, string>;
  /** Absolute paths of all files that were read, in reading order. */
  files: string[];
  /** What was guessed, cut or skipped, one sentence each, for the user. */
  notes: string[];
}
