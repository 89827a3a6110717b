import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { resolveConfig } from "#src/config/resolve.js";
import { writeManifest } from "#src/study/manifest.js";
import type { Trial } from "#src/study/plan.js";
import { trialFolder } from "#src/study/trial.js";
import type { RunResult } from "#src/training/result.js";

export interface SyntheticCell {
  recipe: string;
  task?: string;
  /** Test accuracy of each run; null for one that diverged before its first evaluation, undefined for one not run. */
  scores: (number | null | undefined)[];
  steps?: number;
}

/** A study folder as training would have left it, with scores and losses made up by the test. */
export async function writeSyntheticStudy(folder: string, cells: SyntheticCell[], title = "Synthetic"): Promise<void> {
  const trials = cells.flatMap(({ recipe, task = "toy", scores, steps = 40 }) =>
    scores.map((score, seed) => ({ trial: syntheticTrial(recipe, task, seed), score, steps })),
  );
  await mkdir(folder, { recursive: true });
  await writeManifest(folder, {
    study: { format: 1, name: "synthetic", title, description: "Made up by a test." },
    trials: trials.map(({ trial }) => trial),
  });
  for (const { trial, score, steps } of trials) {
    if (score === undefined) continue;
    const own = trialFolder(folder, trial);
    await mkdir(own, { recursive: true });
    await writeFile(join(own, "config.json"), JSON.stringify(trial.config));
    await writeFile(
      join(own, "result.json"),
      JSON.stringify(syntheticResult(score, { seed: trial.config.seed, steps })),
    );
    await writeFile(join(own, "log.jsonl"), syntheticLog(score ?? 0.5, steps));
  }
}

export function syntheticTrial(recipe: string, task: string, seed: number): Trial {
  const config = resolveConfig({ model: "m", data: `${task}.csv`, output: "o", seed });
  return {
    id: `${recipe}-${task}-${seed}`.replaceAll(/[^a-z0-9-]/gi, "_"),
    stage: "only",
    task,
    recipe,
    seed: `seed ${seed}`,
    fingerprint: { data: "d", weights: "w", numerics: 1 },
    versions: { steadytune: "0.1.0", torch: "2.15.0" },
    config,
  };
}

export function syntheticResult(score: number | null, { seed = 0, steps = 40 } = {}): RunResult {
  const scores = { accuracy: score ?? 0, loss: 0.5 };
  const checkpoint = {
    step: steps,
    validation: scores,
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
    seeds: { seed, initSeed: seed, orderSeed: seed },
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
function syntheticLog(score: number, steps: number): string {
  const lines: object[] = [];
  for (let step = 1; step <= steps; step++) {
    const done = step / steps;
    const loss = 0.69 - (score - 0.5) * done + 0.05 * Math.sin(step * (1 + score));
    lines.push({ type: "step", step, steps, epoch: 0, loss, gradNorm: 1, learningRate: 1e-3, tokens: 0, elapsedMs: 0 });
    if (step % Math.ceil(steps / 10) === 0) {
      const validation = { accuracy: 0.5 + (score - 0.5) * done, loss };
      lines.push({ type: "evaluation", step, steps, validation, best: true, elapsedMs: 0 });
    }
  }
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}
