import { mean } from "../stats/summary.js";
import type { RunResult } from "../training/result.js";
import { isCandidate, type Select } from "./file.js";
import type { Candidate, Choice, Manifest, PlannedCell } from "./manifest.js";
import { isFinished, readTrialResult } from "./trial.js";
import type { Trial } from "./plan.js";

/** What a choice still waits for. */
export interface Missing {
  /** Trials of the candidates that are not finished. */
  trials: number;
  /** Candidates that have no trials yet, since they wait for a choice themselves. */
  cells: number;
}

/**
 * The cell that is best by its mean validation score over all of its runs, by the task's own metric (paper, App. H).
 * Of equally good ones the first in the file wins. A run that diverged counts with the best checkpoint that it had; of
 * two cells the one with fewer runs without any checkpoint is the better one, whatever their means. There is no choice
 * before every trial of every candidate is finished, so it never depends on which runs happened to be there, and a
 * trial that failed has to be run again first.
 *
 * @param folder the study's folder
 */
export async function choose(
  { study: { cells = [] }, trials }: Manifest,
  select: Select,
  task: string,
  folder: string,
): Promise<Choice | Missing> {
  const candidates = cells.filter((cell) => isCandidate(cell, select, task));
  const own = candidates.map((cell) => trials.filter((trial) => isOf(trial, cell)));
  const missing = {
    trials: own.flat().filter((trial) => !isFinished(folder, trial)).length,
    cells: own.filter((trials) => trials.length === 0).length,
  };
  if (missing.trials > 0 || missing.cells > 0 || candidates.length === 0) return missing;
  const among = await Promise.all(
    candidates.map(async ({ recipe }, i): Promise<Candidate> => {
      const results = await Promise.all((own[i] ?? []).map((trial) => readTrialResult(folder, trial)));
      const scores = results.flatMap((result) => validationScore(result) ?? []);
      const withoutScore = results.length - scores.length;
      return { recipe, mean: scores.length === 0 ? null : mean(scores), runs: results.length, withoutScore };
    }),
  );
  return { recipe: among.reduce((best, other) => (isBetter(other, best) ? other : best)).recipe, among };
}

export function isOf(trial: Trial, { stage, task, recipe }: Pick<PlannedCell, "stage" | "task" | "recipe">): boolean {
  return trial.stage === stage && trial.task === task && trial.recipe === recipe;
}

/** Means of equal scores in another order, or of others with the same sum, differ by no more than rounding does. */
const rounding = 1e-12;

function isBetter(a: Candidate, b: Candidate): boolean {
  if (a.withoutScore !== b.withoutScore) return a.withoutScore < b.withoutScore;
  return (a.mean ?? -Infinity) > (b.mean ?? -Infinity) + rounding;
}

/** Of the checkpoint that was best on the validation rows; null for a run without one. */
function validationScore({ best, metric }: RunResult): number | null {
  const score = best?.validation[metric];
  return score === undefined || Number.isNaN(score) ? null : score;
}
