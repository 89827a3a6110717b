import { stat, statfs } from "node:fs/promises";
import type { ResolvedConfig } from "../config/schema.js";
import { loadTask, splitSeed } from "../data/load-task.js";
import { OutputError, SteadytuneError } from "../errors.js";
import { readModelConfig } from "../models/config.js";
import { resolveModel } from "../models/resolve.js";
import type { EncoderShape } from "../native/types.js";
import { runFiles } from "../training/run-folder.js";
import { stepsPerEpoch, totalSteps } from "../training/schedule.js";
import { transferRun } from "../training/transfer-run.js";
import type { Trial } from "./plan.js";
import { workFolder } from "./trial.js";

/** What runs take on the disk, in bytes. */
export interface DiskNeed {
  /** Scores, predictions and logs, which stay. */
  results: number;
  /** Weights that stay: of intermediate tasks, and of runs that keep their best checkpoint. */
  weights: number;
  /** Saved states of the runs under way. */
  states: number;
}

/** Runs that differ in their seeds alone. */
export interface Work {
  config: ResolvedConfig;
  /** How many; a fraction where it depends on a choice whether a run is one of them. */
  runs: number;
}

/** Lines of `predictions.jsonl` and of `log.jsonl`, and the small files of a run: typical lengths, rounded up. */
const predictionBytes = 200;
const stepBytes = 250;
const fixedBytes = 10_000;

/** A diagnostics line has a number per block. */
const distanceBytes = 40;

/** Master weights, two moments, start values and the best checkpoint, each in float32. */
const stateBytesPerParameter = 5 * 4;

/** About what all these runs need, `workers` of them at a time. Reads data and model configs, and no weights. */
export async function diskNeeded(work: readonly Work[], workers: number): Promise<DiskNeed> {
  const rows = new Map<string, Promise<{ train: number; scored: number }>>();
  const shapes = new Map<string, Promise<EncoderShape>>();
  const intermediate = new Map<string, ResolvedConfig>();
  const need: DiskNeed = { results: 0, weights: 0, states: 0 };
  const add = async ({ config, runs }: Work): Promise<void> => {
    const shape = await once(shapes, JSON.stringify([config.model, config.revision]), () => shapeOf(config));
    const { train, scored } = await once(rows, dataKey(config), () => rowsOf(config));
    const steps = totalSteps(config, stepsPerEpoch(train, config.batchSize));
    const diagnostics = config.diagnosticsEvery === undefined ? 0 : steps / config.diagnosticsEvery;
    const lines = diagnostics * (shape.layers * distanceBytes + stepBytes) + steps * stepBytes;
    need.results += runs * (scored * predictionBytes + lines + fixedBytes);
    if (config.keep === "best") need.weights += runs * 4 * parameterCount(shape);
    // The new state is written beside the old one.
    need.states = Math.max(need.states, 2 * workers * stateBytesPerParameter * parameterCount(shape));
    const transfer = transferRun(config);
    if (transfer !== null) intermediate.set(JSON.stringify({ ...transfer, output: "" }), transfer);
  };
  for (const item of work) await add(item);
  for (const config of intermediate.values()) await add({ config, runs: 1 });
  return need;
}

/**
 * Throws where the disk that holds `folder` has no room for these trials. Data or a model that cannot be read are left
 * for the trials to tell.
 *
 * @param running how many of them run side by side, and the flag that says so
 * @throws OutputError with how much is needed and how much there is
 */
export async function refuseFullDisk(
  folder: string,
  trials: readonly Trial[],
  running: { count: number; flag: "--workers" | "--parallel" },
): Promise<void> {
  const work = trials.map(({ config }): Work => ({ config, runs: 1 }));
  const need = await diskNeeded(work, running.count).catch((error: unknown) => {
    if (error instanceof SteadytuneError) return null;
    throw error;
  });
  if (need === null) return;
  const { bavail, bsize } = await statfs(folder);
  // What is left of runs that were cut off has its place already.
  const states = Math.max(0, need.states - (await bytesOfStates(folder, trials)));
  const stays = need.results + need.weights;
  const [needed, free] = [stays + states, bavail * bsize];
  if (needed <= free) return;
  throw new OutputError(
    `the study needs about ${amount(needed)} in ${folder}, where ${amount(free)} are free: ` +
      `${amount(stays)} stay, and ${amount(states)} hold the states of runs under way (${running.count} at a time)`,
    { hint: `free some space, choose another --output, or run fewer side by side with ${running.flag}` },
  );
}

async function bytesOfStates(folder: string, trials: readonly Trial[]): Promise<number> {
  const sizes = trials.map(async (trial) => {
    const found = await stat(runFiles(workFolder(folder, trial)).state).catch(() => null);
    return found?.size ?? 0;
  });
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

function amount(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

async function rowsOf(config: ResolvedConfig): Promise<{ train: number; scored: number }> {
  const { train, validation, test } = await loadTask({ ...config, seed: splitSeed });
  return { train: train.length, scored: validation.length + test.length };
}

function dataKey(config: ResolvedConfig): string {
  const { task, data, validation, test, text, pair, label, trainRows, protocol, evaluateOn, skipBadRows } = config;
  return JSON.stringify([
    task,
    data,
    validation,
    test,
    text,
    pair,
    label,
    trainRows,
    protocol,
    evaluateOn,
    skipBadRows,
  ]);
}

async function shapeOf({ model, revision }: ResolvedConfig): Promise<EncoderShape> {
  const { folder } = await resolveModel(model, { ...(revision !== undefined && { revision }) });
  return (await readModelConfig(folder)).shape;
}

/** To a few percent: embeddings, and per block four square matrices of attention and two of the feed-forward network. */
export function parameterCount(shape: EncoderShape): number {
  const { vocabularySize, maxPositions, embeddingSize, hiddenSize, layers, intermediateSize, decoder } = shape;
  const block = (ffn: number, attentions: number): number => hiddenSize * (attentions * 4 * hiddenSize + 2 * ffn);
  const decoding = decoder === null ? 0 : decoder.layers * block(decoder.intermediateSize, 2);
  return (vocabularySize + maxPositions) * embeddingSize + layers * block(intermediateSize, 1) + decoding;
}

async function once<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const value = known.get(key) ?? make();
  known.set(key, value);
  return value;
}
