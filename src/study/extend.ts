import { mergeConfigs } from "../config/merge.js";
import type { RunConfig } from "../config/schema.js";
import { StateError } from "../errors.js";
import { Fingerprints } from "../training/fingerprint.js";
import {
  mergeTrials,
  requireManifest,
  writeManifest,
  type Choice,
  type Manifest,
  type PlannedCell,
} from "./manifest.js";
import { lockPlan } from "./plan-lock.js";
import { trialsOf, type Trial } from "./plan.js";
import { labelOf, type TrialSeeds } from "./seeds.js";
import { choose, isOf, type Missing } from "./select.js";

export interface Extension {
  manifest: Manifest;
  /** Trials that could be planned now, behind those that there were. */
  added: Trial[];
  /** Cells that still have no trials, and why. */
  waiting: (Missing & { cell: PlannedCell })[];
}

/**
 * Plans the cells that wait for a choice among others, as far as these are finished: writes the choices and the new
 * trials into the manifest. To be called before trials are run and again whenever trials have finished, until it adds
 * nothing; any number of processes may call it, at any time. Everything that it needs stands in the folder.
 *
 * @throws ConfigError when no study is planned in the folder; DataError, CheckpointError or HubError where data or
 *   model of the chosen cell can no longer be read.
 */
export async function extendPlan(folder: string): Promise<Extension> {
  await requireManifest(folder);
  await using _lock = await lockPlan(folder);
  const manifest = await requireManifest(folder);
  const extension = await extendManifest(manifest, folder);
  if (extension.added.length > 0) await writeManifest(folder, extension.manifest);
  return extension;
}

/** The same for a manifest in memory; nothing is written. */
export async function extendManifest(manifest: Manifest, folder: string): Promise<Extension> {
  let extended = manifest;
  // A choice can rest on trials that are all finished already, as one and the same run can be part of several cells.
  for (;;) {
    const { next, waiting } = await extendOnce(extended, folder);
    const added = next.trials.slice(manifest.trials.length);
    if (next.trials.length === extended.trials.length) return { manifest: next, added, waiting };
    extended = next;
  }
}

async function extendOnce(
  manifest: Manifest,
  folder: string,
): Promise<{ next: Manifest; waiting: Extension["waiting"] }> {
  const waiting: Extension["waiting"] = [];
  const cells: PlannedCell[] = [];
  const ready: (PlannedCell & { config: RunConfig; seeds: TrialSeeds[] })[] = [];
  for (const cell of manifest.study.cells ?? []) {
    if (cell.select === null) {
      cells.push(cell);
      continue;
    }
    const choice = cell.select.choice ?? (await choose(manifest, cell.select, cell.task, folder));
    if (!isChoice(choice)) {
      waiting.push({ cell, ...choice });
      cells.push(cell);
      continue;
    }
    cells.push({ ...cell, select: { ...cell.select, choice } });
    const planned = new Set(manifest.trials.filter((trial) => isOf(trial, cell)).map(({ seed }) => seed));
    const seeds = cell.select.seeds.filter((own) => !planned.has(labelOf(own)));
    if (seeds.length === 0) continue;
    ready.push({ ...cell, config: mergeConfigs(configOf(manifest, cell, choice), cell.select.own), seeds });
  }
  const fingerprints = new Fingerprints();
  const wanted: Trial[] = [];
  for (const stage of new Set(ready.map((cell) => cell.stage))) {
    const own = ready.filter((cell) => cell.stage === stage);
    wanted.push(...(await trialsOf(own, folder, fingerprints)));
  }
  const trials = mergeTrials(manifest.trials, wanted, folder);
  return { next: { study: { ...manifest.study, ...(cells.length > 0 && { cells }) }, trials }, waiting };
}

/** The config that all trials of the chosen cell share. */
function configOf({ trials }: Manifest, { select, task }: PlannedCell, { recipe }: Choice): RunConfig {
  const trial = trials.find((trial) => isOf(trial, { stage: select?.stage ?? "", task, recipe }));
  if (trial === undefined) throw new StateError(`the manifest has a choice for "${recipe}", which has no trials`);
  const { seed: _, initSeed: __, orderSeed: ___, output: ____, resume: _____, ...config } = trial.config;
  return config;
}

function isChoice(choice: Choice | Missing): choice is Choice {
  return "recipe" in choice;
}
