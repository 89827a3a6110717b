import { ConfigError, type SteadytuneError } from "../errors.js";
import { makeFolder } from "../files/atomic.js";
import { withAbsolutePaths } from "../training/transfer-run.js";
import { Budget } from "./budget.js";
import { refuseFullDisk } from "./disk.js";
import type { Executor, TrialEvent } from "./executor.js";
import { extendManifest, extendPlan, type Extension } from "./extend.js";
import type { Cell, Study } from "./file.js";
import { localExecutor } from "./local-executor.js";
import {
  differentTrials,
  mergeCells,
  mergeTrials,
  readManifest,
  writeManifest,
  type Manifest,
  type PlannedCell,
} from "./manifest.js";
import { lockPlan } from "./plan-lock.js";
import { otherVersionsNote, refuseOtherNumerics } from "./planned-versions.js";
import { planTrials, type Trial } from "./plan.js";
import { checkReportFolder } from "./report-folder.js";
import type { BudgetConfig } from "./schema.js";
import { isFinished, readFailure } from "./trial.js";
import { workersFor } from "./workers.js";

export type StudyEvent =
  /** What there is to do; `finished` and `failed` trials of an earlier call are not run again. */
  | { type: "planned"; trials: readonly Trial[]; finished: readonly Trial[]; failed: readonly Trial[] }
  | { type: "warning"; message: string }
  | TrialEvent;

export interface RunStudyOptions {
  /** Trials side by side; one per GPU, or on the CPU as many as cores and memory allow, when not given. */
  workers?: number | undefined;
  /** Ids of the trials that are run; all when not given. */
  only?: readonly string[] | undefined;
  /** How much time the study may take, in the place of what its file says. */
  budget?: BudgetConfig | undefined;
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
  /** Cells that have no trials, since they wait for a choice among others that failed. */
  waiting: Extension["waiting"];
  /** Trials that were not begun, or not brought to their end, since the study's budget is spent. */
  overBudget: Trial[];
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
 * the same. Trials of later stages are planned once those that they depend on are finished.
 *
 * @throws ConfigError when nothing is planned in the folder; StateError when it was planned with other numerics;
 *   AbortedError when stopped; OutputError when the disk
 *   is full, or has too little room for what is left, and NativeError when no trial could run on this machine.
 */
export async function runPlanned(folder: string, options: RunStudyOptions = {}): Promise<StudyEnd> {
  const { only, signal, onEvent = () => {} } = options;
  const failed = new Map<string, StudyEnd["failed"][number]>();
  for (;;) {
    const { manifest, waiting } = await extendPlan(folder);
    const trials = only === undefined ? differentTrials(manifest) : chosenTrials(manifest, only, folder);
    const pending: Trial[] = [];
    for (const trial of trials) {
      if (isFinished(folder, trial) || failed.has(trial.id)) continue;
      const error = await readFailure(folder, trial);
      if (error === null) pending.push(trial);
      else failed.set(trial.id, { trial, error });
    }
    onEvent({
      type: "planned",
      trials,
      finished: trials.filter((trial) => isFinished(folder, trial)),
      failed: [...failed.values()].map(({ trial }) => trial),
    });
    const budget = new Budget(options.budget ?? manifest.study.budget ?? null, folder, manifest.trials);
    if (pending.length === 0 || (await budget.isSpent())) {
      return { manifest, failed: [...failed.values()], waiting, overBudget: pending };
    }
    refuseOtherNumerics(pending, folder);
    const note = otherVersionsNote(pending);
    if (note !== null) onEvent({ type: "warning", message: note });
    const workers = await workersFor(pending, options.workers);
    await refuseFullDisk(folder, pending, { count: workers.count, flag: "--workers" });
    const execute: Executor = localExecutor(workers);
    await execute(pending, {
      folder,
      signal,
      mayBegin: async () => !(await budget.isSpent()),
      onEvent(event) {
        if (event.type === "trial-failed") failed.set(event.trial.id, event);
        onEvent(event);
      },
    });
  }
}

function chosenTrials(manifest: Manifest, ids: readonly string[], folder: string): Trial[] {
  const known = new Map(manifest.trials.map((trial) => [trial.id, trial]));
  return [...new Set(ids)].map((id) => {
    const trial = known.get(id);
    if (trial !== undefined) return trial;
    throw new ConfigError(`${folder} has no trial ${id}`, { hint: "it may have left the study by --replan" });
  });
}

/** Writes the manifest, or adds to the one that stands there. */
export async function planStudy(
  study: Study,
  folder: string,
  { replan = false }: Pick<StudyOptions, "replan"> = {},
): Promise<{ manifest: Manifest }> {
  await checkReportFolder(folder);
  const planned = await planTrials(study, folder);
  await makeFolder(folder);
  await using _lock = await lockPlan(folder);
  const before = replan ? null : await readManifest(folder);
  const { name, title, description, preset, executor, budget } = study;
  const cells = mergeCells(before, study.cells.map(plannedCell), folder);
  const wanted: Manifest = {
    study: {
      ...{ format: 1 as const, name, title, description },
      ...(executor !== null && { executor }),
      ...(budget !== null && { budget }),
      ...(preset !== null && { preset }),
      cells,
    },
    trials: mergeTrials(before?.trials ?? [], planned.trials, folder),
  };
  const { manifest } = await extendManifest(wanted, folder);
  if (JSON.stringify(before) !== JSON.stringify(manifest)) await writeManifest(folder, manifest);
  return { manifest };
}

function plannedCell({ stage, task, recipe, grid, expected, select, config, seeds }: Cell): PlannedCell {
  const own = select && { ...select, own: withAbsolutePaths(config), seeds, choice: null };
  return { stage, task, recipe, grid, expected, select: own };
}
