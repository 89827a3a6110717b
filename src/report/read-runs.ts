import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { ResolvedConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";
import { seedLabel } from "../study/seeds.js";
import { configHash } from "../training/identity.js";
import type { RunResult } from "../training/result.js";
import { cellConfig, type FlatConfig } from "./config-groups.js";
import { readCurves } from "./read-curves.js";
import { readDisagreement } from "./read-disagreement.js";
import { groupBy, type ReportCell, type ReportData, type ReportRun } from "./report-data.js";

/**
 * Reads folders of single runs (`finetune --output`). Runs whose configs are equal but for their seeds make a cell,
 * which is named by the settings in which the cells differ.
 *
 * @throws ConfigError when a folder is not that of a finished run
 */
export async function readRuns(folders: readonly string[]): Promise<ReportData> {
  const entries = await Promise.all(folders.map(readRun));
  const groups = groupBy(entries, ({ flat }) => configHash(flat));
  const configs = groups.map(([first]) => first!.flat);
  const cells = groups.map(async (group): Promise<ReportCell> => {
    const { flat, config, run } = group[0]!;
    const recipe = difference(flat, configs);
    return {
      ...{ stage: "runs", task: run.result.task, recipe, config },
      ...{ family: recipe, published: {}, choice: null, planned: group.length },
      disagreement: await readDisagreement(group.map(({ folder }) => join(folder, "predictions.jsonl"))),
      runs: group.map((entry) => entry.run),
    };
  });
  return {
    title: folders.length === 1 ? basename(folders[0] ?? "") : `${folders.length} runs`,
    description: null,
    cells: await Promise.all(cells),
    ...{ failed: [], later: [] },
  };
}

interface Entry {
  folder: string;
  config: ResolvedConfig;
  flat: FlatConfig;
  run: ReportRun;
}

async function readRun(folder: string): Promise<Entry> {
  if (!existsSync(join(folder, "result.json"))) {
    throw new ConfigError(
      `${folder} is neither a study nor a finished run: it has no manifest.jsonl and no result.json`,
    );
  }
  const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(join(folder, name), "utf8")) as T;
  const [config, result] = await Promise.all([read<ResolvedConfig>("config.json"), read<RunResult>("result.json")]);
  const curves = await readCurves(join(folder, "log.jsonl"), result.selectedBy);
  const flat = cellConfig(config);
  if (config.transfer) flat["transfer"] = config.transfer.task ?? config.transfer.data;
  return { folder, config, flat, run: { id: basename(folder), seed: seedLabel(result.seeds), result, curves } };
}

/** What this config says of the keys in which not all are equal: "epochs 10, methods [...]". */
function difference(config: FlatConfig, all: readonly FlatConfig[]): string {
  const keys = new Set(all.flatMap((one) => Object.keys(one)));
  const differing = [...keys].filter((key) => new Set(all.map((one) => JSON.stringify(one[key]))).size > 1);
  // Where not all have the same intermediate task its name says enough.
  const shown = differing.includes("transfer") ? differing.filter((key) => !key.startsWith("transfer.")) : differing;
  const said = shown.filter((key) => config[key] !== undefined).map((key) => `${key} ${plain(config[key])}`);
  if (shown.length === 0) return "all runs";
  return said.length === 0 ? shown.map((key) => `no ${key}`).join(", ") : said.join(", ");
}

const plain = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));
