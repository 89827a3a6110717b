import { existsSync } from "node:fs";
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { StateError, type SteadytuneError } from "../errors.js";
import { asOutputError, makeFolder, writeFileAtomic } from "../files/atomic.js";
import { lockFile, type Lock } from "../files/lock.js";
import type { RunResult } from "../training/result.js";
import { studyPaths } from "./folder.js";
import { fromPlain, toPlain, type PlainError } from "./message.js";
import type { Trial } from "./plan.js";

type Named = Pick<Trial, "id">;

/** The folder of a finished trial. */
export function trialFolder(folder: string, { id }: Named): string {
  return join(studyPaths(folder).trials, id);
}

/** The folder of a trial that is under way, was cut off, or failed. */
export function workFolder(folder: string, { id }: Named): string {
  return join(studyPaths(folder).work, id);
}

/** Beside the folder and not in it: that moves away when the trial is finished. */
export function trialLock(folder: string, trial: Named): string {
  return `${workFolder(folder, trial)}.lock`;
}

/** @throws LockedError when another process is at work on the trial. */
export async function lockTrial(folder: string, trial: Named): Promise<Lock> {
  await makeFolder(studyPaths(folder).work);
  return lockFile(trialLock(folder, trial), workFolder(folder, trial));
}

export function isFinished(folder: string, trial: Named): boolean {
  return existsSync(join(trialFolder(folder, trial), "result.json"));
}

export async function readTrialResult(folder: string, trial: Named): Promise<RunResult> {
  const path = join(trialFolder(folder, trial), "result.json");
  const text = await readFile(path, "utf8");
  try {
    return JSON.parse(text) as RunResult;
  } catch (cause) {
    throw new StateError(`${path} is damaged: it is not JSON`, {
      cause,
      hint: "remove the folder that it is in, and `study run` trains that run again",
    });
  }
}

/** Moves the folder of a trial that ended among the finished ones, in one step. The trial must be locked. */
export async function moveToFinished(folder: string, trial: Named): Promise<void> {
  const target = trialFolder(folder, trial);
  await makeFolder(studyPaths(folder).trials);
  try {
    // Left of one whose result somebody removed to have it run again.
    if (!isFinished(folder, trial)) await rm(target, { recursive: true, force: true });
    await rename(workFolder(folder, trial), target);
  } catch (error) {
    throw asOutputError(error, target);
  }
}

const failureFile = (folder: string, trial: Named): string => join(workFolder(folder, trial), "error.json");

/** Why a trial failed stands beside what there is of it; it is not run again before that is cleared. */
export async function recordFailure(folder: string, trial: Named, error: unknown): Promise<void> {
  await makeFolder(workFolder(folder, trial));
  await writeFileAtomic(failureFile(folder, trial), `${JSON.stringify(toPlain(error), null, 2)}\n`);
}

/** Null for a trial that has not failed. */
export async function readFailure(folder: string, trial: Named): Promise<SteadytuneError | null> {
  try {
    return fromPlain(JSON.parse(await readFile(failureFile(folder, trial), "utf8")) as PlainError);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

export async function clearFailure(folder: string, trial: Named): Promise<void> {
  await rm(failureFile(folder, trial), { force: true });
}
