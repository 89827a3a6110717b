import { readFile } from "node:fs/promises";
import type { ResolvedConfig, RunConfig } from "../config/schema.js";
import { ConfigError, StateError } from "../errors.js";
import { writeFileAtomic } from "../files/atomic.js";
import { runId } from "../training/fingerprint.js";
import { byCell, cellKey } from "./cells.js";
import type { Cell, Select } from "./file.js";
import { studyPaths } from "./folder.js";
import type { Trial } from "./plan.js";
import { refuseOtherNumerics } from "./planned-versions.js";
import type { BudgetConfig } from "./schema.js";
import { mergeSeeds, type TrialSeeds } from "./seeds.js";
import type { ExecutorConfig } from "./slurm/options.js";

/** What a study was planned to be: the first line of `manifest.jsonl`, and a line for each trial. */
export interface Manifest {
  study: StudyHeader;
  trials: Trial[];
}

export interface StudyHeader {
  /** Version of this file's format. */
  format: 1;
  name: string;
  title: string;
  description: string | null;
  /** Where the study's file says that its trials run. */
  executor?: ExecutorConfig;
  /** How much time the study's file gives it; absent without a limit. */
  budget?: BudgetConfig;
  /** The preset that was planned; absent without one. */
  preset?: string;
  /** Every cell, in the order of the file, with or without trials so far. */
  cells?: PlannedCell[];
}

/** What is planned for a cell beside its trials. */
export interface PlannedCell extends Pick<Cell, "stage" | "task" | "recipe" | "grid" | "expected"> {
  /** Where the cell takes the config of another one; null for a cell that stands by itself. */
  select: PlannedSelect | null;
}

export interface PlannedSelect extends Select {
  /** Config keys on top of those of the cell that is chosen. */
  own: RunConfig;
  /** What the cell's trials have once there is a choice; `add-seeds` adds here before it, and to the trials after it. */
  seeds: TrialSeeds[];
  /** Null as long as runs of candidates are missing; then the cell has no trials. */
  choice: Choice | null;
}

/** Which cell was chosen, and on what grounds; never changed once trials were planned upon it. */
export interface Choice {
  /** The `recipe` of the cell that was chosen. */
  recipe: string;
  /** What the choice was among, in the order of the file. */
  among: Candidate[];
}

export interface Candidate {
  recipe: string;
  /** Of the validation scores of all runs that have one; null where none has. */
  mean: number | null;
  runs: number;
  /** Runs that diverged before their first evaluation. */
  withoutScore: number;
}

/** @returns null where no study was planned yet. @throws StateError when the file is not a manifest of this version. */
export async function readManifest(folder: string): Promise<Manifest | null> {
  const { manifest: path } = studyPaths(folder);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  const lines = text.split("\n").filter((line) => line !== "");
  const [study, ...trials] = lines.map((line, i) => {
    try {
      return JSON.parse(line) as unknown;
    } catch (cause) {
      throw new StateError(`${path} is not a manifest: line ${i + 1} is not JSON`, { cause });
    }
  });
  if ((study as Partial<StudyHeader> | undefined)?.format !== 1) {
    throw new StateError(`${path} is not a manifest of this version of steadytune`, {
      hint: "choose another --output, or remove the folder to start anew",
    });
  }
  const broken = trials.findIndex((trial) => !isTrial(trial));
  if (broken >= 0) throw new StateError(`${path} is not a manifest: line ${broken + 2} is not a trial`);
  return { study: study as StudyHeader, trials: trials as Trial[] };
}

function isTrial(line: unknown): boolean {
  const { id, fingerprint, config } = (line ?? {}) as Partial<Trial>;
  return typeof id === "string" && typeof fingerprint === "object" && typeof config === "object";
}

/** @throws ConfigError where no study was planned yet. */
export async function requireManifest(folder: string): Promise<Manifest> {
  const manifest = await readManifest(folder);
  if (manifest !== null) return manifest;
  throw new ConfigError(`${folder} holds no study: it has no manifest.jsonl`, {
    hint: "plan one first: steadytune study plan FILE",
  });
}

/** Two cells can be one and the same run: then it is trained once. */
export function differentTrials({ trials }: Pick<Manifest, "trials">): Trial[] {
  return [...new Map(trials.map((trial) => [trial.id, trial])).values()];
}

export async function writeManifest(folder: string, { study, trials }: Manifest): Promise<void> {
  const lines = [study, ...trials].map((entry) => `${JSON.stringify(entry)}\n`);
  await writeFileAtomic(studyPaths(folder).manifest, lines.join(""));
}

/**
 * The planned trials with the new ones behind them. What was planned stays as it was planned, also where the study
 * file no longer names it: seeds and cells are only ever added. Where model or data have moved, the trials follow them.
 *
 * @throws ConfigError when the study file now means something else by a cell that was planned before, whatever the
 *   seeds; StateError when that was with another version of the numerics
 */
export function mergeTrials(planned: readonly Trial[], wanted: readonly Trial[], folder: string): Trial[] {
  if (wanted.length === 0) return [...planned];
  refuseOtherNumerics(planned, folder);
  const makeups = new Map([...planned, ...wanted].map((trial) => [trial, makeupOf(trial)]));
  const before = byCell(planned);
  const moved = new Map<Trial, Trial>();
  const added: Trial[] = [];
  for (const trial of wanted) {
    const own = before.get(cellKey(trial)) ?? [];
    // Also at other seeds: a mean over two configs is that of neither.
    const other = own.find((old) => makeups.get(old) !== makeups.get(trial));
    if (other !== undefined) {
      throw new ConfigError(
        `${folder} was planned with another ${changed(other, trial)} for "${other.recipe}" on ${other.task}, ${other.seed}`,
        {
          hint: "choose another --output; a study can also give the recipe another name, or be planned anew with --replan",
        },
      );
    }
    const old = own.find(({ seed }) => seed === trial.seed);
    if (old === undefined) added.push(trial);
    else moved.set(old, { ...old, config: withPlacesOf(trial.config, old.config) });
  }
  return [...planned.map((trial) => moved.get(trial) ?? trial), ...added];
}

/** A hash of what all trials of a cell have in common: everything that decides their outcome but the seeds. */
function makeupOf({ config, fingerprint }: Trial): string {
  return runId({ ...config, seed: 0, initSeed: 0, orderSeed: 0 }, fingerprint);
}

/** A planned config, with the files where they lie now. */
function withPlacesOf(now: ResolvedConfig, planned: ResolvedConfig): ResolvedConfig {
  const places = ["model", "revision", "data", "validation", "test", "methods", "transfer"] as const;
  const moved = Object.fromEntries(places.flatMap((key) => (now[key] === undefined ? [] : [[key, now[key]]])));
  return { ...planned, ...moved };
}

/**
 * The cells as the study file has them now, with the choices that were made before; cells that it no longer names stay
 * behind them, as their trials do. Cells that wait for a choice keep the seeds that they were to have, as others keep
 * their trials.
 *
 * @param before null where nothing was planned yet
 * @throws ConfigError when the study file now means something else by a cell that has trials: another choice or other
 *   keys on top of it, a choice where there was none, or none where there was one
 */
export function mergeCells(before: Manifest | null, wanted: readonly PlannedCell[], folder: string): PlannedCell[] {
  const rest = new Map(before?.study.cells?.map((cell) => [cellKey(cell), cell]));
  const planned = byCell(before?.trials ?? []);
  const cells = wanted.map((cell): PlannedCell => {
    const old = rest.get(cellKey(cell))?.select ?? null;
    rest.delete(cellKey(cell));
    if (planned.has(cellKey(cell)) && meaningOf(cell.select) !== meaningOf(old)) {
      throw new ConfigError(
        `${folder} was planned with another config or choice for "${cell.recipe}" on ${cell.task}`,
        { hint: "choose another --output, give the recipe another name, or plan anew with --replan" },
      );
    }
    if (cell.select === null || old === null) return cell;
    const { choice, seeds } = old;
    return { ...cell, select: { ...cell.select, choice, seeds: mergeSeeds(seeds, cell.select.seeds) } };
  });
  return [...cells, ...rest.values()];
}

function meaningOf(select: PlannedSelect | null): string {
  return JSON.stringify(select && [select.stage, select.recipe, select.own]);
}

function changed(old: Trial, now: Trial): string {
  if (old.fingerprint.data !== now.fingerprint.data) return "content of the data files";
  if (old.fingerprint.weights !== now.fingerprint.weights) return "model";
  if (old.fingerprint.transfer !== now.fingerprint.transfer) return "intermediate task";
  return "config";
}
