import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { RunConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";
import { asOutputError } from "../files/atomic.js";
import { runFiles } from "../training/run-folder.js";
import type { RunResult } from "../training/result.js";
import { parseStudy, type Study } from "./file.js";
import { lockPlan } from "./plan-lock.js";
import type { Trial } from "./plan.js";
import { isFinished, readTrialResult, trialFolder } from "./trial.js";

/**
 * One run with several seeds, as a study of one cell: those who fine-tune on few examples should try five to ten and
 * keep the one that is best on the validation rows (paper, Sec. 7).
 *
 * @param config `seed` is the first of the seeds; 0 when not given
 * @throws ConfigError where the config sets what differs from trial to trial
 */
export function studyOfTrials(config: RunConfig, trials: number): Study {
  const { seed = 0, output: _, resume: __, ...base } = config;
  if (base.initSeed !== undefined || base.orderSeed !== undefined) {
    throw new ConfigError("initSeed and orderSeed are those of one run, but each trial has a seed of its own", {
      hint: "name the first seed with --seed, or write a study with a grid of seeds",
    });
  }
  const seeds = Array.from({ length: trials }, (_, i) => seed + i);
  const stages = [{ name: "trials", recipes: [{ name: "run" }], seeds }];
  return parseStudy(
    { name: "trials", title: `${trials} trials, best on validation`, base: { keep: "best", ...base }, stages },
    { source: "the command line", folder: process.cwd() },
  );
}

export interface FinishedTrial {
  trial: Trial;
  result: RunResult;
}

export interface BestOfTrials {
  /** Null where all trials diverged before their first evaluation. */
  best: FinishedTrial | null;
  /** All that are finished, in the order of the plan. */
  trials: FinishedTrial[];
  /** The best trial's checkpoint; null where none is kept. */
  checkpoint: string | null;
}

/**
 * Finds the trial that is best on the validation rows (of equals the first), moves its checkpoint to `best/` of the
 * study's folder and removes those of the others. May be called again, also when there are more trials.
 */
export async function keepBestTrial(folder: string, planned: readonly Trial[]): Promise<BestOfTrials> {
  const finished = planned.filter((trial) => isFinished(folder, trial));
  const trials = await Promise.all(
    finished.map(async (trial) => ({ trial, result: await readTrialResult(folder, trial) })),
  );
  const best = trials.reduce<FinishedTrial | null>((top, one) => (score(one) > score(top) ? one : top), null);
  const kept = join(folder, "best");
  await using _lock = await lockPlan(folder);
  try {
    if (best !== null) {
      const own = runFiles(trialFolder(folder, best.trial)).best;
      // Not there any more when it was moved before.
      if (existsSync(own)) {
        await rm(kept, { recursive: true, force: true });
        await rename(own, kept);
      }
    }
    for (const { trial } of trials) {
      await rm(runFiles(trialFolder(folder, trial)).best, { recursive: true, force: true });
    }
  } catch (error) {
    throw asOutputError(error, kept);
  }
  return { best, trials, checkpoint: best !== null && existsSync(kept) ? kept : null };
}

function score(trial: FinishedTrial | null): number {
  const value = trial?.result.best?.validation[trial.result.selectedBy] ?? NaN;
  return Number.isNaN(value) ? -Infinity : value;
}
