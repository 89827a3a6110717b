import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import type { RunConfig } from "#src/config/schema.js";
import type { RunResult } from "#src/training/result.js";
import { temporaryFolder } from "./temporary-folder.js";
import { ticketsFile, tinyModel } from "./tiny-run.js";

export type Recipe = RunConfig & { name: string };

export const twoRecipes: Recipe[] = [{ name: "plain" }, { name: "biased", optimizer: { biasCorrection: false } }];

/** A study of the tiny BERT on the tickets; a trial takes a second or so. */
export function writeStudy(
  t: ExecutionContext,
  { recipes = twoRecipes, seeds = 2, base = {} }: { recipes?: Recipe[]; seeds?: number; base?: RunConfig } = {},
): { folder: string; file: string } {
  const folder = temporaryFolder(t);
  const study = {
    name: "tickets",
    base: {
      ...{ model: tinyModel(folder), data: ticketsFile, text: "body", label: "queue", maxLength: 32, batchSize: 16 },
      ...{ steps: 40, optimizer: { learningRate: 1e-3 } },
      ...base,
    },
    stages: [{ name: "only", recipes, seeds }],
  };
  const file = join(folder, "study.json");
  writeFileSync(file, JSON.stringify(study));
  return { folder, file };
}

/** Everything that trials left that must not depend on when, where and in which order they ran. */
export function outcomes(folder: string): Record<string, unknown> {
  const trials = join(folder, "trials");
  return Object.fromEntries(
    readdirSync(trials)
      .sort()
      .map((id) => {
        const result = JSON.parse(readFileSync(join(trials, id, "result.json"), "utf8")) as RunResult;
        const { best, last, degenerate, steps, tokens } = result;
        const log = readFileSync(join(trials, id, "log.jsonl"), "utf8").replaceAll(/"elapsedMs":\d+/g, "");
        const predictions = readFileSync(join(trials, id, "predictions.jsonl"), "utf8");
        return [id, { best, last, degenerate, steps, tokens, log, predictions }];
      }),
  );
}

/** Process numbers of the children of a process. */
export function childrenOf(pid: number): number[] {
  return execFileSync("ps", ["-o", "pid=", "--ppid", String(pid)], { encoding: "utf8" })
    .split("\n")
    .map(Number)
    .filter((child) => child > 0 && existsSync(`/proc/${child}/cmdline`))
    .filter((child) => readFileSync(`/proc/${child}/cmdline`, "utf8").includes("study/worker.js"));
}
