import { join } from "node:path";
import { byCell, cellKey } from "../study/cells.js";
import { differentTrials, requireManifest, type Manifest } from "../study/manifest.js";
import type { Trial } from "../study/plan.js";
import { isOf } from "../study/select.js";
import { isFinished, readFailure, readTrialResult, trialFolder } from "../study/trial.js";
import { readCurves } from "./read-curves.js";
import { readDisagreement } from "./read-disagreement.js";
import type { FailedRun, ReportCell, ReportData, ReportRun } from "./report-data.js";

/** Reads what is finished of a study. @throws ConfigError when the folder holds none. */
export async function readStudy(folder: string): Promise<ReportData> {
  const manifest = await requireManifest(folder);
  const { title, description, cells: said = [] } = manifest.study;
  const planned = new Map(said.map((cell) => [cellKey(cell), cell]));
  const cells: ReportCell[] = [];
  const read = new Map<string, Promise<ReportRun>>();
  const runOf = (trial: Trial): Promise<ReportRun> => {
    const run = read.get(trial.id) ?? readTrial(folder, trial);
    read.set(trial.id, run);
    return run;
  };
  // The first cell of a task is what the others are compared with: the file says which, not what was planned first.
  for (const [key, trials] of byCell(manifest.trials, said)) {
    const first = trials[0]!;
    const { grid, expected, select } = planned.get(key) ?? {};
    const finished = trials.filter((trial) => isFinished(folder, trial));
    const { stage, task, recipe, config } = first;
    cells.push({
      ...{ stage, task, recipe, config },
      family: grid?.recipe ?? recipe,
      published: expected ?? {},
      choice: select?.choice ?? null,
      planned: trials.length,
      disagreement: await readDisagreement(
        finished.map((trial) => join(trialFolder(folder, trial), "predictions.jsonl")),
      ),
      runs: await Promise.all(finished.map(runOf)),
    });
  }
  return { title, description, cells, failed: await readFailures(manifest, folder), later: laterCells(manifest) };
}

async function readFailures(manifest: Manifest, folder: string): Promise<FailedRun[]> {
  const unfinished = differentTrials(manifest).filter((trial) => !isFinished(folder, trial));
  const failures = unfinished.map(async (trial): Promise<FailedRun[]> => {
    const error = await readFailure(folder, trial);
    const { stage, task, recipe, seed } = trial;
    return error === null ? [] : [{ stage, task, recipe, seed, message: error.message }];
  });
  return (await Promise.all(failures)).flat();
}

function laterCells({ study: { cells = [] }, trials }: Manifest): ReportData["later"] {
  return cells.flatMap((cell) => {
    const { stage, task, recipe, select } = cell;
    return select === null || trials.some((trial) => isOf(trial, cell))
      ? []
      : [{ stage, task, recipe, from: select.stage }];
  });
}

async function readTrial(folder: string, trial: Trial): Promise<ReportRun> {
  const result = await readTrialResult(folder, trial);
  const curves = await readCurves(join(trialFolder(folder, trial), "log.jsonl"), result.selectedBy);
  return { id: trial.id, seed: trial.seed, result, curves };
}
