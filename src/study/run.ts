import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LockedError, type SteadytuneError } from "../errors.js";
import { makeFolder, writeFileAtomic } from "../files/atomic.js";
import { lockFile, type Lock } from "../files/lock.js";
import type { Executor, TrialEvent } from "./executor.js";
import type { Study } from "./file.js";
import { studyPaths } from "./folder.js";
import { localExecutor } from "./local-executor.js";
import { mergeTrials, readManifest, writeManifest, type Manifest } from "./manifest.js";
import { toPlain } from "./message.js";
import { planTrials, type Trial } from "./plan.js";
import { failureFile, isFinished } from "./trial.js";

export type StudyEvent =
  /** What there is to do; `finished` trials of an earlier call are not run again. */
  { type: "planned"; trials: readonly Trial[]; finished: readonly Trial[] } | TrialEvent;

export interface StudyOptions {
  /** The study's folder. */
  output: string;
  /** Trials side by side; as many as cores and memory allow when not given. */
  workers?: number | undefined;
  /** Let trials whose config, data or model changed leave the study, instead of refusing to mix them. */
  replan?: boolean | undefined;
  signal?: AbortSignal | undefined;
  onEvent?: ((event: StudyEvent) => void) | undefined;
}

export interface StudyEnd {
  manifest: Manifest;
  /** Trials that could not be run to their end; a diverged trial is a result and not among them. */
  failed: { trial: Trial; error: SteadytuneError }[];
}

/**
 * Plans a study in its folder, or adds to the plan that stands there, and runs every trial that is not finished. To
 * call it again does nothing, or goes on with what was cut off.
 *
 * @throws ConfigError, DataError or CheckpointError before the first trial; AbortedError when stopped.
 */
export async function runStudy(study: Study, options: StudyOptions): Promise<StudyEnd> {
  const { output: folder, signal, onEvent = () => {} } = options;
  const { manifest, workers } = await planStudy(study, folder, options);

  // Two cells can be one and the same run: then it is trained once.
  const different = [...new Map(manifest.trials.map((trial) => [trial.id, trial])).values()];
  const pending = different.filter((trial) => !isFinished(folder, trial));
  onEvent({ type: "planned", trials: different, finished: different.filter((trial) => !pending.includes(trial)) });

  const failed: StudyEnd["failed"] = [];
  const recorded: Promise<void>[] = [];
  const execute: Executor = localExecutor({ workers });
  await execute(pending, {
    folder,
    signal,
    onEvent(event) {
      if (event.type === "trial-failed") {
        failed.push(event);
        recorded.push(recordFailure(folder, event));
      }
      onEvent(event);
    },
  });
  await Promise.all(recorded);
  return { manifest, failed };
}

/** Writes the manifest, or adds to the one that stands there. */
export async function planStudy(
  study: Study,
  folder: string,
  { replan = false, workers }: Pick<StudyOptions, "replan" | "workers"> = {},
): Promise<{ manifest: Manifest; workers: number }> {
  const planned = await planTrials(study, folder, workers);
  await makeFolder(folder);
  await using _lock = await lockPatiently(join(folder, ".plan.lock"), folder);
  const before = replan ? null : await readManifest(folder);
  const { name, title, description } = study;
  const manifest: Manifest = {
    study: { format: 1, name, title, description },
    trials: mergeTrials(before?.trials ?? [], planned.trials, folder),
  };
  if (JSON.stringify(before) !== JSON.stringify(manifest)) await writeManifest(folder, manifest);
  return { manifest, workers: planned.workers };
}

/** Another process holds this lock for no longer than it takes to write the manifest. */
async function lockPatiently(path: string, what: string): Promise<Lock> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await lockFile(path, what);
    } catch (error) {
      if (!(error instanceof LockedError) || attempt === 100) throw error;
      await sleep(100);
    }
  }
}

/** Why a trial failed stands beside what there is of it, for `status` and for people. */
async function recordFailure(folder: string, { trial, error }: StudyEnd["failed"][number]): Promise<void> {
  const own = join(studyPaths(folder).work, trial.id);
  await makeFolder(own);
  await writeFileAtomic(join(own, failureFile), `${JSON.stringify(toPlain(error), null, 2)}\n`);
}
