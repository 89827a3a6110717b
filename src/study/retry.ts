import { rm } from "node:fs/promises";
import { LockedError } from "../errors.js";
import { runFiles } from "../training/run-folder.js";
import { requireManifest } from "./manifest.js";
import type { Trial } from "./plan.js";
import { clearFailure, lockTrial, readFailure, workFolder } from "./trial.js";

/**
 * Makes trials that failed runnable again. They go on from what they had saved, unless that was what they failed on.
 *
 * @returns the trials that the next run takes up
 * @throws ConfigError when nothing is planned in the folder
 */
export async function retryFailed(folder: string): Promise<Trial[]> {
  const { trials } = await requireManifest(folder);
  const retried: Trial[] = [];
  for (const trial of new Map(trials.map((trial) => [trial.id, trial])).values()) {
    if ((await readFailure(folder, trial)) !== null && (await retry(folder, trial))) retried.push(trial);
  }
  return retried;
}

async function retry(folder: string, trial: Trial): Promise<boolean> {
  try {
    await using _lock = await lockTrial(folder, trial);
    const failure = await readFailure(folder, trial);
    if (failure === null) return false;
    if (failure.code === "ERR_STATE") await rm(runFiles(workFolder(folder, trial)).state, { force: true });
    await clearFailure(folder, trial);
    return true;
  } catch (error) {
    // Somebody has taken it in hand already.
    if (error instanceof LockedError) return false;
    throw error;
  }
}
