import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { resolveConfig } from "#src/config/resolve.js";
import type { RunConfig } from "#src/config/schema.js";
import { writeManifest, type Choice, type PlannedCell } from "#src/study/manifest.js";
import type { Trial } from "#src/study/plan.js";
import type { Expected } from "#src/study/schema.js";
import { seedLabel } from "#src/study/seeds.js";
import { trialFolder } from "#src/study/trial.js";
import type { RunResult } from "#src/training/result.js";
import { numerics } from "#src/training/versions.js";

export interface SyntheticCell {
  /** "only" where it is not given; cells that are alike but for their stage share their runs. */
  stage?: string;
  recipe: string;
  task?: string;
  /** Test accuracy of each run; null for one that diverged before its first evaluation, undefined for one not run. */
  scores: (number | null | undefined)[];
  /** Validation accuracies where they are others. */
  validation?: number[];
  /** Seeds of each run where they are not 0, 1, 2, ... */
  seeds?: { initSeed: number; orderSeed: number }[];
  steps?: number;
  config?: RunConfig;
  /** Labels that each run predicts for the test rows. */
  predictions?: string[][];
  /** Blocks of the model, for runs with diagnostics. */
  blocks?: number;
  grid?: { recipe: string };
  expected?: Expected;
  choice?: Choice;
}

/** A study folder as training would have left it, with scores and losses made up by the test. */
export async function writeSyntheticStudy(folder: string, cells: SyntheticCell[], title = "Synthetic"): Promise<void> {
  const trials = cells.flatMap((cell) =>
    cell.scores.map((score, i) => {
      const { stage = "only", recipe, task = "toy", seeds, config } = cell;
      const trial = syntheticTrial(recipe, task, i, { ...config, ...(seeds?.[i] ?? { seed: i }) });
      return { cell, score, i, trial: { ...trial, stage } };
    }),
  );
  await mkdir(folder, { recursive: true });
  const planned = cells.map(({ stage = "only", recipe, task = "toy", grid, expected = null, choice }): PlannedCell => {
    const select = choice ? { stage: "only", recipe: null, own: {}, seeds: [], choice } : null;
    return { stage, task, recipe, grid: grid ? { ...grid, values: {} } : null, select, expected };
  });
  await writeManifest(folder, {
    study: { format: 1, name: "synthetic", title, description: "Made up by a test.", cells: planned },
    trials: trials.map(({ trial }) => trial),
  });
  for (const { cell, trial, score, i } of trials) {
    if (score === undefined) continue;
    const { steps = 40, validation, predictions, blocks = 0 } = cell;
    const own = trialFolder(folder, trial);
    await mkdir(own, { recursive: true });
    await writeFile(join(own, "config.json"), JSON.stringify(trial.config));
    const { seed, initSeed, orderSeed } = trial.config;
    const result = syntheticResult(score, { seeds: { seed, initSeed, orderSeed }, steps, validation: validation?.[i] });
    await writeFile(join(own, "result.json"), JSON.stringify(result));
    await writeFile(join(own, "log.jsonl"), syntheticLog(score ?? 0.5, steps, blocks));
    if (predictions) await writeFile(join(own, "predictions.jsonl"), syntheticPredictions(predictions[i] ?? []));
  }
}

export function syntheticTrial(recipe: string, task: string, seed: number, more: RunConfig = { seed }): Trial {
  const config = resolveConfig({ model: "m", data: `${task}.csv`, output: "o", ...more });
  return {
    id: `${recipe}-${task}-${seed}`.replaceAll(/[^a-z0-9-]/gi, "_"),
    stage: "only",
    task,
    recipe,
    seed: seedLabel(config),
    fingerprint: { data: "d", weights: "w", numerics },
    versions: { steadytune: "0.1.0", torch: "2.15.0" },
    config,
  };
}

export function syntheticResult(
  score: number | null,
  {
    seed = 0,
    seeds = { seed, initSeed: seed, orderSeed: seed },
    steps = 40,
    validation = score ?? 0,
  }: { seed?: number; seeds?: RunResult["seeds"]; steps?: number; validation?: number | undefined } = {},
): RunResult {
  const scores = { accuracy: score ?? 0, loss: 0.5 };
  const checkpoint = {
    step: steps,
    validation: { ...scores, accuracy: validation },
    test: scores,
    intervals: { validation: [0.4, 0.9] as [number, number], test: [0.4, 0.9] as [number, number] },
  };
  return {
    task: "toy",
    metric: "accuracy",
    selectedBy: "accuracy",
    best: score === null ? null : checkpoint,
    last: score === null ? null : checkpoint,
    majority: { validation: 0.5, test: 0.5 },
    rows: { train: 400, validation: 250, test: 250 },
    seeds,
    transfer: null,
    degenerate: score === null || score <= 0.5,
    diverged: score === null,
    divergedAt: score === null ? 3 : null,
    seconds: { total: 6, train: 5, evaluate: 1 },
    steps,
    tokens: 12_345,
    peakMemoryBytes: 1_000_000,
    versions: {
      steadytune: "0.1.0",
      numerics: 1,
      node: "20.19.0",
      torch: "2.15.0",
      instructionSet: "avx2",
      threads: 1,
      device: "cpu",
      dtype: "float32",
    },
  };
}

/** A loss that falls from ln 2 towards what the score leaves, and ten evaluations on the way. */
function syntheticLog(score: number, steps: number, blocks: number): string {
  const lines: object[] = [];
  for (let step = 1; step <= steps; step++) {
    const done = step / steps;
    const loss = 0.69 - (score - 0.5) * done + 0.05 * Math.sin(step * (1 + score));
    lines.push({ type: "step", step, steps, epoch: 0, loss, gradNorm: 1, learningRate: 1e-3, tokens: 0, elapsedMs: 0 });
    if (blocks > 0 && (step % 10 === 0 || step === steps)) {
      lines.push({ type: "diagnostics", step, steps, distances: syntheticDistances(blocks, done * score) });
    }
    if (step % Math.ceil(steps / 10) === 0) {
      const validation = { accuracy: 0.5 + (score - 0.5) * done, loss };
      lines.push({ type: "evaluation", step, steps, validation, best: true, elapsedMs: 0 });
    }
  }
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

/** Upper blocks move further. */
function syntheticDistances(blocks: number, way: number): Record<string, number> {
  const own = Array.from({ length: blocks }, (_, i) => [`blocks.${i}`, way * (0.5 + i / blocks)] as const);
  return { embeddings: 0.3 * way, ...Object.fromEntries(own), pooler: 0.9 * way, classifier: 0.2 * way };
}

function syntheticPredictions(labels: readonly string[]): string {
  const lines = labels.map((label, row) => ({ split: "test", row, expected: "a", label, probabilities: {} }));
  return [{ split: "validation", row: 0, expected: "a", label: "b", probabilities: {} }, ...lines]
    .map((line) => `${JSON.stringify(line)}\n`)
    .join("");
}
