import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ConfigError, LockedError, type SteadytuneError } from "../errors.js";
import { makeFolder } from "../files/atomic.js";
import { lockFile, type Lock } from "../files/lock.js";
import type { RunEvent } from "../training/events.js";
import type { RunResult } from "../training/result.js";
import type { Executor, TrialEvent } from "./executor.js";
import type { Study } from "./file.js";
import { localExecutor } from "./local-executor.js";
import { mergeTrials, readManifest, requireManifest, writeManifest, type Manifest } from "./manifest.js";
import { planTrials, type Trial } from "./plan.js";
import { TrialRunner } from "./trial-runner.js";
import { isFinished, readFailure } from "./trial.js";
import { workersFor } from "./workers.js";

export type StudyEvent =
  /** What there is to do; `finished` and `failed` trials of an earlier call are not run again. */
  { type: "planned"; trials: readonly Trial[]; finished: readonly Trial[]; failed: readonly Trial[] } | TrialEvent;

export interface RunStudyOptions {
  /** Trials side by side; as many as cores and memory allow when not given. */
  workers?: number | undefined;
  signal?: AbortSignal | undefined;
  onEvent?: ((event: StudyEvent) => void) | undefined;
}

export interface StudyOptions extends RunStudyOptions {
  /** The study's folder. */
  output: string;
  /** Let trials whose config, data or model changed leave the study, instead of refusing to mix them. */
  replan?: boolean | undefined;
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
  const { output: folder } = options;
  await planStudy(study, folder, options);
  return runPlanned(folder, options);
}

/**
 * Runs every trial of a planned study that is neither finished nor failed before, also beside other processes that do
 * the same.
 *
 * @throws ConfigError when nothing is planned in the folder; AbortedError when stopped; OutputError when the disk is
 *   full, and NativeError when no trial could run on this machine.
 */
export async function runPlanned(folder: string, options: RunStudyOptions = {}): Promise<StudyEnd> {
  const { signal, onEvent = () => {} } = options;
  const manifest = await requireManifest(folder);

  // Two cells can be one and the same run: then it is trained once.
  const trials = [...new Map(manifest.trials.map((trial) => [trial.id, trial])).values()];
  const failed: StudyEnd["failed"] = [];
  const pending: Trial[] = [];
  for (const trial of trials) {
    if (isFinished(folder, trial)) continue;
    const error = await readFailure(folder, trial);
    if (error === null) pending.push(trial);
    else failed.push({ trial, error });
  }
  onEvent({
    type: "planned",
    trials,
    finished: trials.filter((trial) => isFinished(folder, trial)),
    failed: failed.map(({ trial }) => trial),
  });

  const execute: Executor = localExecutor({ workers: await workersFor(pending, options.workers) });
  await execute(pending, {
    folder,
    signal,
    onEvent(event) {
      if (event.type === "trial-failed") failed.push(event);
      onEvent(event);
    },
  });
  return { manifest, failed };
}

/**
 * Runs one trial of a planned study in this process: what one task of an array job does. One that is finished is left
 * as it is.
 *
 * @param index the trial's place in the manifest, from 0
 * @throws ConfigError when there is no such trial; LockedError when another process is at work on it; the error of
 *   the trial when it fails now or failed before; AbortedError after its state was saved.
 */
export async function runIndex(
  folder: string,
  index: number,
  hooks: { signal: AbortSignal; onEvent: (event: RunEvent) => void },
): Promise<{ trial: Trial; result: RunResult }> {
  const { trials } = await requireManifest(folder);
  const trial = trials[index];
  if (trial === undefined) {
    throw new ConfigError(`${folder} has no trial ${index}: its trials are 0 to ${trials.length - 1}`);
  }
  const failure = await readFailure(folder, trial);
  if (failure !== null) throw failure;
  await using runner = new TrialRunner(folder);
  return { trial, result: await runner.run(trial, hooks) };
}

/** Writes the manifest, or adds to the one that stands there. */
export async function planStudy(
  study: Study,
  folder: string,
  { replan = false }: Pick<StudyOptions, "replan"> = {},
): Promise<{ manifest: Manifest }> {
  const planned = await planTrials(study, folder);
  await makeFolder(folder);
  await using _lock = await lockPatiently(join(folder, ".plan.lock"), folder);
  const before = replan ? null : await readManifest(folder);
  const { name, title, description } = study;
  const manifest: Manifest = {
    study: { format: 1, name, title, description },
    trials: mergeTrials(before?.trials ?? [], planned.trials, folder),
  };
  if (JSON.stringify(before) !== JSON.stringify(manifest)) await writeManifest(folder, manifest);
  return { manifest };
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
