import { existsSync } from "node:fs";
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { asOutputError, makeFolder } from "../files/atomic.js";
import { lockFile } from "../files/lock.js";
import type { RunEvent } from "../training/events.js";
import type { Prepared } from "../training/prepare.js";
import type { RunResult } from "../training/result.js";
import { train } from "../training/train.js";
import { studyPaths } from "./folder.js";
import type { Trial } from "./plan.js";

/** Why an earlier attempt failed; gone once the trial is tried again. */
export const failureFile = "error.json";

/** The folder of a finished trial. */
export function trialFolder(folder: string, { id }: Pick<Trial, "id">): string {
  return join(studyPaths(folder).trials, id);
}

export function isFinished(folder: string, trial: Pick<Trial, "id">): boolean {
  return existsSync(join(trialFolder(folder, trial), "result.json"));
}

export async function readTrialResult(folder: string, trial: Pick<Trial, "id">): Promise<RunResult> {
  return JSON.parse(await readFile(join(trialFolder(folder, trial), "result.json"), "utf8")) as RunResult;
}

/**
 * Trains a trial, or goes on where it was cut off, and moves its folder among the finished ones.
 *
 * @throws LockedError when another process is at work on this very trial; AbortedError after the state was saved.
 */
export async function runTrial(
  prepared: Prepared,
  trial: Trial,
  folder: string,
  options: { signal?: AbortSignal; onEvent?: (event: RunEvent) => void } = {},
): Promise<RunResult> {
  const { work, trials } = studyPaths(folder);
  const own = join(work, trial.id);
  await makeFolder(work);
  await makeFolder(trials);
  // The run's own lock lies in the folder that moves away, and could be taken anew right after.
  await using _lock = await lockFile(`${own}.lock`, own);
  if (isFinished(folder, trial)) return await readTrialResult(folder, trial);
  await rm(join(own, failureFile), { force: true });
  const result = await train(prepared, trial.config, own, options);
  try {
    await rename(own, trialFolder(folder, trial));
  } catch (error) {
    throw asOutputError(error, trialFolder(folder, trial));
  }
  return result;
}
