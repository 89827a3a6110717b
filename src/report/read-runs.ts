import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { ResolvedConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";
import { seedLabel } from "../study/seeds.js";
import { configHash } from "../training/identity.js";
import type { RunResult } from "../training/result.js";
import { readCurves } from "./read-curves.js";
import type { ReportData, ReportRun } from "./report-data.js";

/** Keys in which two runs of one cell may differ. */
const notOfTheCell = ["seed", "initSeed", "orderSeed", "output", "resume", "stateEvery", "keep", "threads", "device"];

/**
 * Reads folders of single runs (`finetune --output`). Runs whose configs are equal but for their seeds make a cell,
 * which is named by the settings in which the cells differ.
 *
 * @throws ConfigError when a folder is not that of a finished run
 */
export async function readRuns(folders: readonly string[]): Promise<ReportData> {
  const entries = await Promise.all(folders.map(readRun));
  const groups = new Map<string, { config: Flat; task: string; runs: ReportRun[] }>();
  for (const { config, run } of entries) {
    const key = configHash(config);
    const group = groups.get(key) ?? { config, task: run.result.task, runs: [] };
    group.runs.push(run);
    groups.set(key, group);
  }
  const configs = [...groups.values()].map(({ config }) => config);
  return {
    title: folders.length === 1 ? basename(folders[0] ?? "") : `${folders.length} runs`,
    description: null,
    cells: [...groups.values()].map(({ config, task, runs }) => ({
      stage: "runs",
      task,
      recipe: difference(config, configs),
      planned: runs.length,
      runs,
    })),
  };
}

type Flat = Record<string, unknown>;

async function readRun(folder: string): Promise<{ config: Flat; run: ReportRun }> {
  if (!existsSync(join(folder, "result.json"))) {
    throw new ConfigError(
      `${folder} is neither a study nor a finished run: it has no manifest.jsonl and no result.json`,
    );
  }
  const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(join(folder, name), "utf8")) as T;
  const [config, result] = await Promise.all([read<ResolvedConfig>("config.json"), read<RunResult>("result.json")]);
  const curves = await readCurves(join(folder, "log.jsonl"), result.selectedBy);
  const flat = flatten(config);
  for (const key of notOfTheCell) delete flat[key];
  if (config.transfer) flat["transfer"] = config.transfer.task ?? config.transfer.data;
  return { config: flat, run: { id: basename(folder), seed: seedLabel(result.seeds), result, curves } };
}

/** `{ optimizer: { eps: 1 } }` to `{ "optimizer.eps": 1 }`; arrays stay whole. */
function flatten(value: object, prefix = ""): Flat {
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]: [string, unknown]) =>
      typeof inner === "object" && inner !== null && !Array.isArray(inner)
        ? Object.entries(flatten(inner, `${prefix}${key}.`))
        : [[`${prefix}${key}`, inner]],
    ),
  );
}

/** What this config says of the keys in which not all are equal: "epochs 10, methods [...]". */
function difference(config: Flat, all: readonly Flat[]): string {
  const keys = new Set(all.flatMap((one) => Object.keys(one)));
  const differing = [...keys].filter((key) => new Set(all.map((one) => JSON.stringify(one[key]))).size > 1);
  // Where not all have the same intermediate task its name says enough.
  const shown = differing.includes("transfer") ? differing.filter((key) => !key.startsWith("transfer.")) : differing;
  const said = shown.filter((key) => config[key] !== undefined).map((key) => `${key} ${plain(config[key])}`);
  if (shown.length === 0) return "all runs";
  return said.length === 0 ? shown.map((key) => `no ${key}`).join(", ") : said.join(", ");
}

const plain = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));
