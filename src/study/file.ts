import { readFile } from "node:fs/promises";
import { basename, dirname, extname, resolve } from "node:path";
import { checkConfig } from "../config/check.js";
import { expandExtends } from "../config/file.js";
import { mergeConfigs } from "../config/merge.js";
import type { RunConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";
import { checkStudy } from "./check.js";
import type { StudyFile } from "./schema.js";
import { expandSeeds, type TrialSeeds } from "./seeds.js";

/** A study as its file says it, with every config inside checked and its `extends` merged. */
export interface Study {
  name: string;
  title: string;
  description: string | null;
  /** What to tell the reader at the end. */
  next: string | null;
  cells: Cell[];
}

/** One recipe on one task: what a box of a box plot shows. */
export interface Cell {
  stage: string;
  task: string;
  recipe: string;
  /** Without seeds and output, which differ from trial to trial. */
  config: RunConfig;
  seeds: TrialSeeds[];
}

/** Keys that the study itself decides for each trial. */
const decidedByStudy = ["seed", "initSeed", "orderSeed", "output", "resume"] as const;

/** Keys that name files. */
const pathKeys = ["model", "data", "validation", "test"] as const;

/**
 * Reads a study file. Names of files in it that begin with ./ or ../ are relative to the study file, so that a study
 * can be moved together with its data; others are left as they stand.
 *
 * @param overrides config keys that go on top of every cell
 * @throws ConfigError naming the file and the key at fault
 */
export async function readStudyFile(path: string, overrides: RunConfig = {}): Promise<Study> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new ConfigError(`the study file ${path} cannot be read`, { cause });
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(`${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
  checkStudy(content, path);
  return parseStudy(content, { source: path, folder: dirname(resolve(path)), overrides });
}

/** The same for a study that is already in memory; `folder` is what its file names are relative to. */
export function parseStudy(
  file: StudyFile,
  { source, folder, overrides = {} }: { source: string; folder: string; overrides?: RunConfig },
): Study {
  const config = (part: RunConfig, where: string): RunConfig => {
    checkConfig(part, `${source}: ${where}`);
    const decided = decidedByStudy.find((key) => part[key] !== undefined);
    if (decided !== undefined) {
      throw new ConfigError(`${source}: ${where} sets ${decided}, which the study decides for each trial`, {
        hint: decided === "output" || decided === "resume" ? "leave it out" : "say it in the stage's seeds",
      });
    }
    return expandExtends(inFolder(part, folder), folder);
  };

  const base = config(file.base ?? {}, "base");
  const cells = file.stages.flatMap(({ name: stage, tasks, recipes, seeds }, s) => {
    const at = `stages[${s}]`;
    refuseTwins(recipes, `${source}: ${at}.recipes`);
    refuseTwins(tasks ?? [], `${source}: ${at}.tasks`);
    const ways = recipes.map(({ name, ...part }, i) => ({
      name,
      config: config(part, `${at}.recipes[${i}] (${name})`),
    }));
    const sets = (tasks ?? [null]).map((task, i) => {
      if (task === null) return { name: null, config: {} };
      const { name, ...part } = task;
      return { name, config: config(part, `${at}.tasks[${i}] (${name})`) };
    });
    return sets.flatMap((set) =>
      ways.map((way): Cell => {
        const whole = [base, set.config, way.config, overrides].reduce(mergeConfigs);
        return {
          stage,
          task: set.name ?? taskLabel(whole),
          recipe: way.name,
          config: whole,
          seeds: expandSeeds(seeds),
        };
      }),
    );
  });
  refuseTwins(
    file.stages.map(({ name }) => ({ name })),
    `${source}: stages`,
  );
  const { name, title = name, description = null, next = null } = file;
  return { name, title, description, next, cells };
}

function refuseTwins(entries: readonly { name: string }[], where: string): void {
  const names = entries.map(({ name }) => name);
  const twin = names.find((name, i) => names.indexOf(name) !== i);
  if (twin !== undefined) throw new ConfigError(`${where} has two entries named "${twin}"`);
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
