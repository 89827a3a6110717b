import type { EncodedSplit } from "../data/encoded.js";
import type { TaskInfo } from "../data/task.js";
import { rowScorer, metrics, type Labels } from "../metrics/metrics.js";
import { bootstrapInterval } from "../stats/bootstrap.js";
import { forwardSplit } from "./evaluate.js";
import type { Prepared } from "./prepare.js";
import type { CheckpointScores, Scores } from "./result.js";

/** The draws of the interval are the same in every run, so that equal outputs have equal intervals. */
const intervalSeed = 0;

export interface ScoredSplit {
  /** [rows, outputs] */
  logits: Float32Array;
  scores: Scores;
  interval: [number, number] | null;
}

export interface ScoredCheckpoint {
  validation: ScoredSplit;
  test: ScoredSplit;
}

/** Labels of a split of which every row has one. */
export function labelsOf({ labels }: EncodedSplit): Labels {
  return labels ?? [];
}

/** All metrics and the interval of the task's own one over rows. */
export function scoreLogits(task: TaskInfo, logits: Float32Array, labels: Labels): ScoredSplit {
  const interval =
    labels.length === 0
      ? null
      : bootstrapInterval(labels.length, rowScorer(task, task.metric, logits, labels), { seed: intervalSeed });
  return { logits, scores: metrics(task, logits, labels), interval };
}

/** Scores the session's parameters on both halves; once where they are the same rows. */
export async function scoreCheckpoint(
  { session, encoded, data }: Pick<Prepared, "session" | "encoded" | "data">,
  options: { batchSize: number; signal?: AbortSignal | undefined },
): Promise<ScoredCheckpoint> {
  const score = async (split: EncodedSplit): Promise<ScoredSplit> =>
    scoreLogits(data.task, await forwardSplit(session, split, options), labelsOf(split));
  const validation = await score(encoded.validation);
  const test = encoded.test === encoded.validation ? validation : await score(encoded.test);
  return { validation, test };
}

export function checkpointScores(step: number, { validation, test }: ScoredCheckpoint): CheckpointScores {
  return {
    step,
    validation: validation.scores,
    test: test.scores,
    intervals: { validation: validation.interval, test: test.interval },
  };
}
