import type { MetricName } from "../data/task.js";

/** Metric name (accuracy, f1, matthews, spearman, pearson, loss) to value; which names depends on the problem. */
export type Scores = Record<string, number>;

/** One checkpoint, scored on both halves. */
export interface CheckpointScores {
  /** The step after which it stood, from 1. */
  step: number;
  validation: Scores;
  test: Scores;
  /** 95 % bootstrap interval over rows of the task's own metric, [low, high]; null where a half has no rows. */
  intervals: { validation: [number, number] | null; test: [number, number] | null };
}

export interface Versions {
  steadytune: string;
  /** Raised whenever a change of the code changes the bits of a run. */
  numerics: number;
  node: string;
  torch: string;
  instructionSet: string;
  threads: number;
  device: "cpu" | "cuda";
  /** Its model, such as "NVIDIA H100 80GB HBM3"; only on CUDA. */
  gpu?: string;
  dtype: "float32" | "bfloat16";
}

/** The run of an intermediate task that a run's first weights come from. */
export interface TransferOrigin {
  /** Hash of all that decides the outcome of that run; part of its folder's name. */
  id: string;
  task: string;
  /** The step of its best checkpoint, which is the one that is used. */
  step: number;
  /** The metric that chose that checkpoint, and its score on the validation rows. */
  metric: string;
  score: number;
}

/** `result.json` of a run folder. */
export interface RunResult {
  task: string;
  /** The task's own metric; `degenerate` and the intervals are about it. */
  metric: MetricName;
  /** The metric that chose the best checkpoint. */
  selectedBy: string;
  /** The best checkpoint on the validation rows; null when the run diverged before its first evaluation. */
  best: CheckpointScores | null;
  /** The checkpoint after the last step; null when the run diverged. */
  last: CheckpointScores | null;
  /** What always predicting the majority class (regression: the mean) scores on the task's own metric. */
  majority: { validation: number; test: number };
  rows: { train: number; validation: number; test: number };
  seeds: { seed: number; initSeed: number; orderSeed: number };
  /** Where the weights came from; null for those of the model itself. */
  transfer: TransferOrigin | null;
  /**
   * The best checkpoint is no better on the test rows (without any: on the validation rows) than always predicting the
   * majority class; for regression below a correlation of 0.1.
   */
  degenerate: boolean;
  diverged: boolean;
  /**
   * The first step whose loss or gradient was not finite, from 1; 0 where the intermediate task diverged, so that there
   * was nothing to start from; null for a run that did not diverge.
   */
  divergedAt: number | null;
  /** Work that stands in the result; time lost by kills is not in it. */
  seconds: { total: number; train: number; evaluate: number };
  steps: number;
  /** Tokens trained on, padding never included. */
  tokens: number;
  peakMemoryBytes: number;
  versions: Versions;
}
