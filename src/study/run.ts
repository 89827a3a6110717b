import { join } from "node:path";
import type { SteadytuneError } from "../errors.js";
import { makeFolder, writeFileAtomic } from "../files/atomic.js";
import { withAbsolutePaths } from "../training/transfer-run.js";
import type { Executor, TrialEvent } from "./executor.js";
import { extendManifest, extendPlan } from "./extend.js";
import type { Cell, Study } from "./file.js";
import { studyPaths } from "./folder.js";
import { localExecutor } from "./local-executor.js";
import { mergeCells, mergeTrials, readManifest, writeManifest, type Manifest, type PlannedCell } from "./manifest.js";
import { toPlain } from "./message.js";
import { lockPlan } from "./plan-lock.js";
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
  const { manifest: planned, workers } = await planStudy(study, folder, options);
  const failed: StudyEnd["failed"] = [];
  const recorded: Promise<void>[] = [];
  const execute: Executor = localExecutor({ workers });
  let manifest = planned;
  // Trials of later stages are planned once those that they depend on are finished.
  for (let added = true; added;) {
    // Two cells can be one and the same run: then it is trained once.
    const different = [...new Map(manifest.trials.map((trial) => [trial.id, trial])).values()];
    const hasFailed = new Set(failed.map(({ trial }) => trial.id));
    const pending = different.filter((trial) => !isFinished(folder, trial) && !hasFailed.has(trial.id));
    onEvent({ type: "planned", trials: different, finished: different.filter((trial) => !pending.includes(trial)) });
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
    const extension = await extendPlan(folder);
    manifest = extension.manifest;
    added = extension.added.length > 0;
  }
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
  await using _lock = await lockPlan(folder);
  const before = replan ? null : await readManifest(folder);
  const { name, title, description, preset } = study;
  const cells = mergeCells(before?.study.cells ?? [], study.cells.map(plannedCell), folder);
  const wanted: Manifest = {
    study: { format: 1, name, title, description, ...(preset !== null && { preset }), cells },
    trials: mergeTrials(before?.trials ?? [], planned.trials, folder),
  };
  const { manifest } = await extendManifest(wanted, folder);
  if (JSON.stringify(before) !== JSON.stringify(manifest)) await writeManifest(folder, manifest);
  return { manifest, workers: planned.workers };
}

function plannedCell({ stage, task, recipe, grid, expected, select, config, seeds }: Cell): PlannedCell {
  const own = select && { ...select, own: withAbsolutePaths(config), seeds, choice: null };
  return { stage, task, recipe, grid, expected, select: own };
}

/** Why a trial failed stands beside what there is of it, for `status` and for people. */
async function recordFailure(folder: string, { trial, error }: StudyEnd["failed"][number]): Promise<void> {
  const own = join(studyPaths(folder).work, trial.id);
  await makeFolder(own);
  await writeFileAtomic(join(own, failureFile), `${JSON.stringify(toPlain(error), null, 2)}\n`);
}
