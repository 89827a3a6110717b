import { readFile } from "node:fs/promises";
import { basename, dirname, extname, resolve } from "node:path";
import { checkConfig } from "../config/check.js";
import { expandExtends } from "../config/file.js";
import { mergeConfigs } from "../config/merge.js";
import type { RunConfig } from "../config/schema.js";
import { nearest } from "../config/suggest.js";
import { ConfigError } from "../errors.js";
import { checkStudy } from "./check.js";
import { atPoint, gridPoints, pointLabel, type GridValues } from "./grid.js";
import { findPreset } from "./preset.js";
import type {
  BudgetConfig,
  Expected,
  PresetFile,
  RecipeFile,
  SeedsFile,
  StageFile,
  StudyFile,
  TaskFile,
} from "./schema.js";
import type { ExecutorConfig } from "./slurm/options.js";
import { expandSeeds, type TrialSeeds } from "./seeds.js";

/** A study as its file says it, with every config inside checked and its `extends` merged. */
export interface Study {
  name: string;
  title: string;
  description: string | null;
  /** What to tell the reader at the end. */
  next: string | null;
  /** Where it says that its trials run; null where it does not say. */
  executor: ExecutorConfig | null;
  /** How much time it may take; null without a limit. */
  budget: BudgetConfig | null;
  /** The preset that was chosen. */
  preset: string | null;
  /** Whether the preset is for a model that is named beside it, and none was. */
  modelMissing: boolean;
  cells: Cell[];
}

/** One recipe on one task, at one point of its grid: what a box of a box plot shows. */
export interface Cell {
  stage: string;
  task: string;
  /** The recipe's name, with the point of its grid where it has one: "Re-init, layers 3". */
  recipe: string;
  grid: CellGrid | null;
  /** Whose config comes below this one's; null where that is known from the start. */
  select: Select | null;
  /** Without seeds and output, which differ from trial to trial. */
  config: RunConfig;
  seeds: TrialSeeds[];
  expected: Expected | null;
}

export interface CellGrid {
  /** The recipe's name in the file, which all points share. */
  recipe: string;
  values: GridValues;
}

/** The best of these cells, on the task of the cell that selects. */
export interface Select {
  stage: string;
  /** The recipe's name in the file; null for all recipes of the stage. */
  recipe: string | null;
}

export interface StudyChoice {
  /** Config keys that go on top of every cell. */
  overrides?: RunConfig;
  preset?: string | undefined;
  /** Names of the tasks that are kept. */
  tasks?: readonly string[] | undefined;
  /** Seeds of all stages, in the place of theirs. */
  seeds?: SeedsFile | undefined;
}

/** Keys that the study itself decides for each trial. */
const decidedByStudy = ["seed", "initSeed", "orderSeed", "output", "resume"] as const;

/** Keys that name files. */
const pathKeys = ["model", "data", "validation", "test"] as const;

/**
 * Reads a study file. Names of files in it that begin with ./ or ../ are relative to the study file, so that a study
 * can be moved together with its data; others are left as they stand.
 *
 * @throws ConfigError naming the file and the key at fault
 */
export async function readStudyFile(path: string, choice: StudyChoice = {}): Promise<Study> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const hint = "give the path of the study's JSON file; `steadytune study --help` lists the verbs";
    if (code === "ENOENT") throw new ConfigError(`there is no study file ${path}`, { cause, hint });
    if (code === "EISDIR") throw new ConfigError(`${path} is a folder and not a study's file`, { cause, hint });
    throw new ConfigError(`the study file ${path} cannot be read: ${message}`, { cause });
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(`${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
  return parseStudy(content as StudyFile, { source: path, folder: dirname(resolve(path)), ...choice });
}

/**
 * The same for a study that is already in memory.
 *
 * @param folder what its file names are relative to
 * @throws ConfigError naming `source` and the key at fault
 */
export function parseStudy(
  file: StudyFile,
  {
    source,
    folder,
    overrides = {},
    preset: wanted,
    tasks: keep,
    seeds,
  }: StudyChoice & { source: string; folder: string },
): Study {
  checkStudy(file, source);
  const preset: PresetFile = wanted === undefined ? {} : findPreset(file, wanted, source);
  const changed = (part: RunConfig, key: string): RunConfig => config(part, `presets.${wanted}.${key}`);
  const layers = {
    base: config(file.base ?? {}, "base"),
    preset: changed(preset.base ?? {}, "base"),
    recipes: new Map(
      Object.entries(preset.recipes ?? {}).map(([name, part]) => [name, changed(part, `recipes.${name}`)]),
    ),
  };
  refuseTwins(file.stages, "stages");
  const cells: Cell[] = [];
  for (const [s, stage] of file.stages.entries()) cells.push(...cellsOf(stage, `stages[${s}]`, cells));
  if (keep !== undefined) refuseUnknown(keep, new Set(cells.map(({ task }) => task)), `${source} has no task`);
  const { name, title = name, description = null, next = null, executor = null, budget = null } = file;
  return {
    name: wanted === undefined ? name : `${name}-${wanted}`,
    title,
    description:
      [description, preset.description].filter((text) => text !== null && text !== undefined).join(" ") || null,
    next,
    executor,
    budget,
    preset: wanted ?? null,
    modelMissing: preset.needsModel === true && overrides.model === undefined,
    cells: cells.filter(({ task }) => keep === undefined || keep.includes(task)),
  };

  function cellsOf(stage: StageFile, at: string, before: readonly Cell[]): Cell[] {
    const all = namedTasks(stage.tasks ?? file.tasks ?? null, `${at}.tasks`);
    const kept = all === null || preset.tasks === undefined ? all : replaced(all, stage.tasks === undefined);
    // Without a list of tasks there is one, which is called by its data.
    const known = new Set(all?.map((task) => task.name) ?? [labelOf([layers.base, layers.preset])]);
    for (const [r, { name, tasks = [], expected = {} }] of stage.recipes.entries()) {
      const said = `${source}: ${at}.recipes[${r}] (${name})`;
      refuseUnknown(tasks, known, `${said} is for a task that the stage has not,`);
      refuseUnknown(Object.keys(expected), known, `${said} expects numbers for a task that the stage has not,`);
    }
    return (kept ?? [null]).flatMap((task) => {
      const on = task === null ? {} : config(withoutName(task), `${at}.tasks (${task.name})`);
      const base = [layers.base, on, layers.preset].reduce(mergeConfigs);
      const label = task?.name ?? labelOf([base]);
      const recipes = stage.recipes.filter(({ tasks }) => tasks === undefined || tasks.includes(label));
      refuseTwins(recipes, `${at}.recipes`, task === null ? "" : ` on ${label}`);
      const cells = recipes.flatMap((recipe) => {
        const where = `${at}.recipes[${stage.recipes.indexOf(recipe)}] (${recipe.name})`;
        return cellsOfRecipe(recipe, { base, stage, task: label, at: where, before });
      });
      refuseTwinCells(cells, `${at}.recipes`);
      return cells;
    });
  }

  function labelOf(parts: readonly RunConfig[]): string {
    return taskLabel([...parts, overrides].reduce(mergeConfigs));
  }

  function cellsOfRecipe(
    recipe: RecipeFile,
    to: { base: RunConfig; stage: StageFile; task: string; at: string; before: readonly Cell[] },
  ): Cell[] {
    const { name, tasks: _, grid, select, expected, ...keys } = recipe;
    const values = Object.entries(grid ?? {}).map(([key, list]) => [key, preset.grid?.[key] ?? list] as const);
    const points = grid === undefined ? [null] : gridPoints(Object.fromEntries(values));
    const said = `${source}: ${to.at}`;
    return points.map((point): Cell => {
      const put = (part: RunConfig): RunConfig => (point === null ? part : atPoint(part, point, said));
      const own = config(put(keys), to.at);
      // The values of a grid are on top of what a preset says of the recipe.
      const way = put(mergeConfigs(own, layers.recipes.get(name) ?? {}));
      const cell = {
        stage: to.stage.name,
        task: to.task,
        recipe: point === null ? name : `${name}, ${pointLabel(point)}`,
        grid: point === null ? null : { recipe: name, values: point },
        seeds: expandSeeds(seeds ?? preset.seeds ?? to.stage.seeds),
        // They are about the study as it is published.
        expected: wanted === undefined ? (expected?.[to.task] ?? null) : null,
      };
      if (select === undefined) {
        return { ...cell, select: null, config: [to.base, way, overrides].reduce(mergeConfigs) };
      }
      const selects = { stage: select.stage, recipe: select.recipe ?? null };
      const candidates = refuseNoCandidates(selects, to, said);
      const onTop = mergeConfigs(withoutPaths(way, overrides), withoutPaths(overrides, overrides));
      for (const { config } of candidates) checkConfig(mergeConfigs(config, onTop), said);
      return { ...cell, select: selects, config: onTop };
    });
  }

  function refuseNoCandidates(
    select: Select,
    { task, before }: { task: string; before: readonly Cell[] },
    said: string,
  ): Cell[] {
    const stages = new Set(before.map(({ stage }) => stage));
    refuseUnknown([select.stage], stages, `${said} selects from a stage that does not come before it,`);
    const there = before.filter((cell) => cell.stage === select.stage && cell.task === task);
    const names = new Set(there.map(recipeName));
    if (select.recipe !== null) {
      refuseUnknown([select.recipe], names, `${said} selects from "${select.stage}", which has on ${task} no recipe`);
    } else if (there.length === 0) {
      throw new ConfigError(`${said} selects from "${select.stage}", which has no cell on ${task}`);
    }
    return there.filter((cell) => isCandidate(cell, select, task));
  }

  function config(part: RunConfig, where: string): RunConfig {
    checkConfig(part, `${source}: ${where}`);
    const decided = decidedByStudy.find((key) => part[key] !== undefined);
    if (decided !== undefined) {
      throw new ConfigError(`${source}: ${where} sets ${decided}, which the study decides for each trial`, {
        hint: decided === "output" || decided === "resume" ? "leave it out" : "say it in the stage's seeds",
      });
    }
    return expandExtends(inFolder(part, folder), folder);
  }

  /** Tasks with their keys; names alone stand for tasks of the study. */
  function namedTasks(list: readonly (string | TaskFile)[] | null, where: string): TaskFile[] | null {
    if (list === null) return null;
    const known = new Map((file.tasks ?? []).map((task) => [task.name, task]));
    const named = list.map((entry): TaskFile => {
      if (typeof entry !== "string") return entry;
      refuseUnknown([entry], new Set(known.keys()), `${source}: ${where} names a task that the study has not,`);
      return known.get(entry)!;
    });
    refuseTwins(named, where);
    return named;
  }

  /** Those of a stage's tasks that the preset names, as it defines them; in a stage without a list of its own, all. */
  function replaced(tasks: readonly TaskFile[], all: boolean): TaskFile[] {
    const chosen = namedTasks(preset.tasks ?? [], `presets.${wanted}.tasks`) ?? [];
    return all ? chosen : chosen.filter(({ name }) => tasks.some((task) => task.name === name));
  }

  /** The points of a grid can be called like another recipe, or like each other where values differ only in kind. */
  function refuseTwinCells(cells: readonly Cell[], where: string): void {
    const twin = twinOf(cells.map(({ recipe }) => recipe));
    if (twin === undefined) return;
    const { task } = cells[0]!;
    throw new ConfigError(`${source}: ${where} makes two cells named "${twin}" on ${task}`, {
      hint: "points of a grid are named by their values: give one recipe another name, or take a value out",
    });
  }

  function refuseTwins(entries: readonly { name: string }[], where: string, on = ""): void {
    const twin = twinOf(entries.map(({ name }) => name));
    if (twin !== undefined) throw new ConfigError(`${source}: ${where} has two entries named "${twin}"${on}`);
  }
}

/** The recipe's name in the file, without the point of a grid. */
export function recipeName({ recipe, grid }: Pick<Cell, "recipe" | "grid">): string {
  return grid?.recipe ?? recipe;
}

/** Whether a cell is among those that `select` chooses from on `task`. */
export function isCandidate(
  cell: Pick<Cell, "stage" | "task" | "recipe" | "grid">,
  { stage, recipe }: Select,
  task: string,
): boolean {
  return cell.stage === stage && cell.task === task && (recipe === null || recipeName(cell) === recipe);
}

/** The first name that was there before. */
function twinOf(names: readonly string[]): string | undefined {
  return names.find((name, i) => names.indexOf(name) !== i);
}

function refuseUnknown(names: readonly string[], known: ReadonlySet<string>, message: string): void {
  const name = names.find((name) => !known.has(name));
  if (name === undefined) return;
  const near = nearest(name, known);
  const hint = near === undefined ? `there are: ${[...known].join(", ") || "none"}` : `did you mean "${near}"?`;
  throw new ConfigError(`${message} "${name}"`, { hint });
}

function withoutName({ name: _, ...config }: TaskFile): RunConfig {
  return config;
}

/** Data and model that the overrides name are those of the selected config already. */
function withoutPaths(config: RunConfig, overrides: RunConfig): RunConfig {
  const known: readonly string[] = pathKeys.filter((key) => overrides[key] !== undefined);
  return Object.fromEntries(Object.entries(config).filter(([key]) => !known.includes(key)));
}

function inFolder(config: RunConfig, folder: string): RunConfig {
  const moved = { ...config };
  for (const key of pathKeys) {
    const path = config[key];
    if (path !== undefined && /^\.\.?\//.test(path)) moved[key] = resolve(folder, path);
  }
  if (config.transfer) moved.transfer = inFolder(config.transfer, folder);
  return moved;
}

function taskLabel({ task, data = "" }: RunConfig): string {
  return task ?? basename(data, extname(data));
}
