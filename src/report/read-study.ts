import { join } from "node:path";
import { requireManifest } from "../study/manifest.js";
import type { Trial } from "../study/plan.js";
import { isFinished, readTrialResult, trialFolder } from "../study/trial.js";
import { readCurves } from "./read-curves.js";
import type { ReportCell, ReportData } from "./report-data.js";

/** Reads what is finished of a study. @throws ConfigError when the folder holds none. */
export async function readStudy(folder: string): Promise<ReportData> {
  const manifest = await requireManifest(folder);
  const byCell = new Map<string, { cell: ReportCell; trials: Trial[] }>();
  for (const trial of manifest.trials) {
    const { stage, task, recipe } = trial;
    const key = JSON.stringify([stage, task, recipe]);
    const entry = byCell.get(key) ?? { cell: { stage, task, recipe, planned: 0, runs: [] }, trials: [] };
    entry.trials.push(trial);
    byCell.set(key, entry);
  }
  const cells: ReportCell[] = [];
  for (const { cell, trials } of byCell.values()) {
    const finished = trials.filter((trial) => isFinished(folder, trial));
    const runs = await Promise.all(
      finished.map(async (trial) => {
        const result = await readTrialResult(folder, trial);
        const curves = await readCurves(join(trialFolder(folder, trial), "log.jsonl"), result.selectedBy);
        return { id: trial.id, seed: trial.seed, result, curves };
      }),
    );
    cells.push({ ...cell, planned: trials.length, runs });
  }
  const { title, description } = manifest.study;
  return { title, description, cells };
}
