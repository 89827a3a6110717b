import { join, resolve } from "node:path";
import { ConfigError } from "../errors.js";
import { runId } from "../training/fingerprint.js";
import { codeVersions } from "../training/versions.js";
import { byCell, cellKey } from "./cells.js";
import { studyPaths } from "./folder.js";
import { requireManifest, writeManifest, type PlannedCell } from "./manifest.js";
import { lockPlan } from "./plan-lock.js";
import type { Trial } from "./plan.js";
import { refuseOtherNumerics } from "./planned-versions.js";
import { seedLabel } from "./seeds.js";

/**
 * Adds the next `count` seeds to the cells of a planned study: trials like those that a cell has, on the data and
 * weights that were planned. Nothing that is there changes.
 *
 * @param stage the stage whose cells get them; all when not given
 * @returns the new trials, which stand behind the others in the manifest
 * @throws ConfigError when nothing is planned in the folder, there is no such stage, or a cell's seeds are a grid, of
 *   which nobody knows the next ones; StateError when it was planned with another version of the numerics
 */
export async function addSeeds(folder: string, count: number, stage?: string): Promise<Trial[]> {
  if (!Number.isInteger(count) || count < 1) {
    throw new ConfigError(`the number of seeds to add must be a whole number over 0, but is ${count}`);
  }
  await requireManifest(folder);
  await using _lock = await lockPlan(folder);
  const { study, trials } = await requireManifest(folder);
  refuseOtherNumerics(trials, folder);
  const isMeant = (cell: { stage: string }): boolean => stage === undefined || cell.stage === stage;

  const meant = byCell(trials.filter(isMeant));
  // Cells that wait for a choice have no trials yet: they will be planned with these seeds as well.
  const waits = (cell: PlannedCell): boolean => cell.select !== null && isMeant(cell) && !meant.has(cellKey(cell));
  if (meant.size === 0 && !study.cells?.some(waits)) {
    const known = [...new Set(trials.map((trial) => trial.stage))].join(", ");
    throw new ConfigError(`${folder} has no stage "${stage}"`, { hint: `its stages are: ${known}` });
  }
  const cells = study.cells?.map((cell): PlannedCell => {
    if (cell.select === null || !waits(cell)) return cell;
    const last = highestSeed(
      cell.select.seeds.map((own) => ("seed" in own ? spread(own.seed) : own)),
      cell,
    );
    const more = Array.from({ length: count }, (_, i) => ({ seed: last + 1 + i }));
    return { ...cell, select: { ...cell.select, seeds: [...cell.select.seeds, ...more] } };
  });

  const added: Trial[] = [];
  // Seeds in the outer loop, as in the plan.
  for (let i = 1; i <= count; i++) {
    for (const [first, ...others] of meant.values()) {
      if (first === undefined) continue;
      const last = highestSeed(
        [first, ...others].map(({ config }) => config),
        first,
      );
      added.push(withSeed(first, last + i, folder));
    }
  }
  await writeManifest(folder, { study: { ...study, ...(cells && { cells }) }, trials: [...trials, ...added] });
  return added;
}

function withSeed(trial: Trial, seed: number, folder: string): Trial {
  const config = { ...trial.config, ...spread(seed) };
  const id = runId(config, trial.fingerprint);
  const output = join(resolve(studyPaths(folder).trials), id);
  return { ...trial, id, seed: seedLabel(config), versions: codeVersions(), config: { ...config, output } };
}

interface Seeds {
  initSeed: number;
  orderSeed: number;
}

const spread = (seed: number): Seeds & { seed: number } => ({ seed, initSeed: seed, orderSeed: seed });

function highestSeed(seeds: readonly Seeds[], { recipe, task }: { recipe: string; task: string }): number {
  if (seeds.some(({ initSeed, orderSeed }) => initSeed !== orderSeed)) {
    throw new ConfigError(`the seeds of "${recipe}" on ${task} are a grid, of which nobody knows the next ones`, {
      hint: "write the seeds into the study's file and plan it again: what is there stays; --stage names other cells",
    });
  }
  return Math.max(...seeds.map(({ initSeed }) => initSeed));
}
