import { rm } from "node:fs/promises";
import type { ResolvedConfig } from "../config/schema.js";
import { writeFileAtomic } from "../files/atomic.js";
import { isDegenerate, majorityBaseline } from "../metrics/baseline.js";
import { saveModel } from "../models/save.js";
import { writePredictions } from "./predictions.js";
import type { Prepared } from "./prepare.js";
import type { RunResult } from "./result.js";
import type { RunFolder } from "./run-folder.js";
import type { Run } from "./run.js";
import { checkpointScores, labelsOf, scoreCheckpoint, type ScoredCheckpoint } from "./score.js";
import { bestSlot } from "./state.js";

/**
 * Scores the last and the best checkpoint, writes what stays of the run, `result.json` as the very last: a folder with
 * one is a finished run, and a kill before it leaves a state to go on from.
 */
export async function finish(
  run: Run,
  place: RunFolder,
  prepared: Prepared,
  config: ResolvedConfig,
  options: { steps: number; selectedBy: string; signal?: AbortSignal | undefined },
): Promise<RunResult> {
  const { session, data, encoded } = prepared;
  const { position, clock, divergedAt } = run;
  const scoring = { batchSize: config.evaluationBatchSize, signal: options.signal };

  clock.enter("evaluate");
  const last = divergedAt === null ? await scoreCheckpoint(prepared, scoring) : null;
  let best: ScoredCheckpoint | null = null;
  if (position.best !== null && position.best.step === position.step) best = last;
  if (position.best !== null && best === null) {
    // From here on the session no longer holds what a state would have to.
    await run.settled();
    await session.restore(bestSlot);
    best = await scoreCheckpoint(prepared, scoring);
  }

  clock.enter("finish");
  await run.settled();
  if (best) await writePredictions(place.files.predictions, data.task, encoded, best);
  if (best && config.keep === "best") await saveBest(place.files.best, prepared, config);
  if (position.best !== null) await session.dropSnapshot(bestSlot);

  const { total, train, evaluate } = clock.seconds;
  const result: RunResult = {
    task: data.task.name,
    metric: data.task.metric,
    selectedBy: options.selectedBy,
    best: best && position.best && checkpointScores(position.best.step, best),
    last: last && checkpointScores(position.step, last),
    ...circumstances(prepared, config),
    transfer: prepared.transfer,
    degenerate: best === null || degenerate(prepared, best),
    diverged: divergedAt !== null,
    divergedAt,
    seconds: { total, train, evaluate },
    steps: options.steps,
    tokens: position.tokens,
    peakMemoryBytes: session.peakMemoryBytes(),
    versions: prepared.versions,
  };
  await writeFileAtomic(place.files.result, `${JSON.stringify(result, null, 2)}\n`);
  await rm(place.files.state, { force: true });
  run.record({ type: "end", result });
  return result;
}

async function saveBest(folder: string, prepared: Prepared, config: ResolvedConfig): Promise<void> {
  const { session, model, data, tokenizer } = prepared;
  await saveModel(folder, {
    config: model.config,
    labels: data.task.labels,
    problem: data.task.problem,
    parameters: session.parameters,
    read: (name) => session.readParameter(name),
    dtype: "float32",
    tokenizerFiles: tokenizer.files,
    metadata: { task: data.task.name, maxLength: String(config.maxLength) },
  });
}

/** What is known of a run before it begins. */
export function circumstances(
  { data, encoded }: Pick<Prepared, "data" | "encoded">,
  { seed, initSeed, orderSeed }: ResolvedConfig,
): Pick<RunResult, "majority" | "rows" | "seeds"> {
  const { task, train, validation, test } = data;
  const majority = (half: "validation" | "test"): number =>
    majorityBaseline(task, labelsOf(encoded[half]))[task.metric] ?? 0;
  return {
    majority: { validation: majority("validation"), test: majority("test") },
    rows: { train: train.length, validation: validation.length, test: test.length },
    seeds: { seed, initSeed, orderSeed },
  };
}

/** Judged on the test rows: on the validation rows the best of ten checkpoints beats the majority by luck alone. */
function degenerate({ data, encoded }: Prepared, best: ScoredCheckpoint): boolean {
  const half = encoded.test.rowNumbers.length > 0 ? "test" : "validation";
  return isDegenerate(data.task, data.task.metric, best[half].scores, labelsOf(encoded[half]));
}
