import { join } from "node:path";
import type { SteadytuneError } from "../errors.js";
import { isLocked } from "../files/lock.js";
import type { RunResult } from "../training/result.js";
import { readResult } from "../training/run-folder.js";
import { byCell } from "./cells.js";
import { studyPaths } from "./folder.js";
import { requireManifest, type Manifest } from "./manifest.js";
import type { Trial } from "./plan.js";
import { readProgress, type Progress } from "./progress.js";
import type { BudgetConfig } from "./schema.js";
import { isOf } from "./select.js";
import { isFinished, readFailure, readTrialResult, trialLock, workFolder } from "./trial.js";
import { secondsLeft, workLeft, type CellProgress } from "./work-left.js";

export type TrialState = "done" | "diverged" | "failed" | "running" | "waiting";

/** How many trials are in each state. */
export type Counts = Record<TrialState, number>;

export interface TrialStatus extends Pick<Trial, "id" | "stage" | "task" | "recipe" | "seed"> {
  /** Its place in the manifest, from 0. */
  index: number;
  state: TrialState;
  /** Of one that is running, or was cut off; null where training has not begun. */
  progress: Progress | null;
  /** Why it failed. */
  error: Pick<SteadytuneError, "code" | "message" | "hint"> | null;
  result: RunResult | null;
}

export interface CellStatus extends Pick<Trial, "stage" | "task" | "recipe">, Counts {
  trials: number;
  /** The task's metric and its best score on the validation rows so far, of finished and of running trials. */
  metric: string | null;
  best: number | null;
}

/** The run of an intermediate task, which trials wait for. */
export interface StageStatus {
  id: string;
  task: string;
  state: TrialState;
  progress: Progress | null;
}

export interface StudyStatus extends Counts {
  folder: string;
  name: string;
  title: string;
  /** In all; a run that is in two cells counts once. */
  total: number;
  /** That finished trials took together. */
  secondsSpent: number;
  /** After how much of that no more are begun; null without a limit. */
  budget: BudgetConfig | null;
  /** Until everything is done if as many run side by side as now; null while nothing runs or too little is known. */
  secondsLeft: number | null;
  /** The same work for one worker. */
  workSecondsLeft: number | null;
  /** True where part of the work could not be guessed and is not in those numbers. */
  atLeast: boolean;
  /** In the order of the study's file. */
  cells: CellStatus[];
  /** Cells without trials so far: their recipe is chosen once that stage is finished. */
  later: (Pick<Trial, "stage" | "task" | "recipe"> & { from: string })[];
  stages: StageStatus[];
  trials: TrialStatus[];
}

/**
 * How a study stands, read from its folder alone: no lock is taken and nothing written, whoever is at work in it.
 *
 * @throws ConfigError where no study was planned
 */
export async function readStatus(folder: string): Promise<StudyStatus> {
  const manifest = await requireManifest(folder);
  const trials = await Promise.all(manifest.trials.map((trial, index) => trialStatus(folder, trial, index)));
  const stages = await readStages(folder, manifest.trials);
  const different = [...new Map(trials.map((trial) => [trial.id, trial])).values()];
  const running = different.filter(({ state }) => state === "running").length;
  const later = cellsWithoutTrials(manifest);
  const left = workLeft([...byCell(different).values()].map(progressOf), stages.map(stageProgress));
  return {
    folder,
    name: manifest.study.name,
    title: manifest.study.title,
    total: different.length,
    ...countsOf(different),
    secondsSpent: different.reduce((sum, { result }) => sum + (result?.seconds.total ?? 0), 0),
    budget: manifest.study.budget ?? null,
    secondsLeft: left === null || running === 0 ? null : secondsLeft(left, running),
    workSecondsLeft: left?.seconds ?? null,
    atLeast: later.length > 0 || (left?.atLeast ?? false),
    cells: [...byCell(trials, manifest.study.cells).values()].map(cellStatus),
    later,
    stages,
    trials,
  };
}

async function trialStatus(folder: string, trial: Trial, index: number): Promise<TrialStatus> {
  const { id, stage, task, recipe, seed } = trial;
  const named = { index, id, stage, task, recipe, seed, progress: null, error: null, result: null };
  const finished = async (): Promise<TrialStatus> => {
    const result = await readTrialResult(folder, trial);
    return { ...named, state: result.diverged ? "diverged" : "done", result };
  };
  if (isFinished(folder, trial)) return finished();
  const running = await isLocked(trialLock(folder, trial));
  const error = running ? null : await readFailure(folder, trial);
  const progress = await readProgress(workFolder(folder, trial));
  // It may have ended while it was looked at.
  if (isFinished(folder, trial)) return finished();
  if (error !== null) {
    return {
      ...named,
      state: "failed",
      progress,
      error: { code: error.code, message: error.message, hint: error.hint },
    };
  }
  return { ...named, state: running ? "running" : "waiting", progress };
}

async function readStages(folder: string, trials: readonly Trial[]): Promise<StageStatus[]> {
  const stages = new Map<string, Trial["config"]["transfer"]>();
  for (const { fingerprint, config } of trials) {
    if (fingerprint.transfer !== undefined) stages.set(fingerprint.transfer, config.transfer);
  }
  return Promise.all(
    [...stages].map(async ([id, transfer]): Promise<StageStatus> => {
      const own = join(studyPaths(folder).stages, id);
      const task = transfer?.task ?? transfer?.data ?? "";
      const result = await readResult(own);
      if (result !== null) return { id, task, state: result.diverged ? "diverged" : "done", progress: null };
      const running = await isLocked(join(own, ".lock"));
      return { id, task, state: running ? "running" : "waiting", progress: await readProgress(own) };
    }),
  );
}

function cellsWithoutTrials({ study, trials }: Manifest): StudyStatus["later"] {
  return (study.cells ?? []).flatMap((cell) => {
    const { stage, task, recipe, select } = cell;
    return select === null || trials.some((trial) => isOf(trial, cell))
      ? []
      : [{ stage, task, recipe, from: select.stage }];
  });
}

function cellStatus(trials: readonly TrialStatus[]): CellStatus {
  const { stage = "", task = "", recipe = "" } = trials[0] ?? {};
  const metric = trials.map(({ result, progress }) => result?.metric ?? progress?.metric).find(Boolean) ?? null;
  const scores = trials
    .map(({ result, progress }) => (metric === null ? null : (result?.best?.validation[metric] ?? progress?.best)))
    .filter((score) => typeof score === "number");
  const best = scores.length === 0 ? null : Math.max(...scores);
  return { stage, task, recipe, trials: trials.length, ...countsOf(trials), metric, best };
}

function countsOf(trials: readonly TrialStatus[]): Counts {
  const counts: Counts = { done: 0, diverged: 0, failed: 0, running: 0, waiting: 0 };
  for (const { state } of trials) counts[state] += 1;
  return counts;
}

function progressOf(trials: readonly TrialStatus[]): CellProgress {
  return {
    finished: trials.flatMap(({ state, result }) => (state === "done" && result ? [result.seconds.total] : [])),
    running: trials
      .filter(({ state, progress }) => state === "running" || (state === "waiting" && progress !== null))
      .map(({ progress }) => progress ?? { step: 0, steps: 1, seconds: 0 }),
    waiting: trials.filter(({ state, progress }) => state === "waiting" && progress === null).length,
  };
}

function stageProgress({ state, progress }: StageStatus): CellProgress {
  const left = state === "running" || state === "waiting";
  return { finished: [], running: left && progress ? [progress] : [], waiting: left && !progress ? 1 : 0 };
}
