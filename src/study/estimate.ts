import { mergeConfigs } from "../config/merge.js";
import { resolveConfig } from "../config/resolve.js";
import { isOwnMethod, type ResolvedConfig, type RunConfig } from "../config/schema.js";
import { evaluationBatches, packBatch } from "../data/batches.js";
import type { EncodedSplit } from "../data/encoded.js";
import { AbortedError } from "../errors.js";
import { keepsDropout } from "../methods/mixout.js";
import { StepBatches, tokensIn } from "../training/batches.js";
import { evaluationPoints } from "../training/evaluation-points.js";
import { configHash } from "../training/identity.js";
import { planOf } from "../training/plan.js";
import { prepare } from "../training/prepare-run.js";
import { preparedKey, type Prepared } from "../training/prepare.js";
import { totalSteps } from "../training/schedule.js";
import { transferRun } from "../training/transfer-run.js";
import { diskNeeded, type DiskNeed, type Work } from "./disk.js";
import { isCandidate, type Cell, type Study } from "./file.js";
import { threadsOfTrial } from "./plan.js";
import { refuseNoModel } from "./preset.js";
import { labelOf } from "./seeds.js";

/** What a study will take on this machine, told from a few steps of each kind of run. */
export interface Estimate {
  kinds: KindEstimate[];
  /** In all; where a choice decides how many, the mean over what may be chosen. */
  runs: number;
  /** For one worker. */
  seconds: number;
  disk: DiskNeed;
}

/** Runs whose steps take as long as each other's: one model, one data set, one batch size, like methods. */
export interface KindEstimate {
  task: string;
  model: string;
  batchSize: number;
  /** Those that make a step longer. */
  methods: string[];
  runs: number;
  /** A training step. */
  secondsPerStep: number;
  /** All runs of this kind, for one worker. */
  seconds: number;
}

export interface EstimateOptions {
  workers: number;
  signal?: AbortSignal | undefined;
  /** Before each kind is timed. */
  onKind?: ((kind: Pick<KindEstimate, "task" | "model">, number: number, of: number) => void) | undefined;
}

/** A kind is timed for at least so long, and at least so many steps. */
const timedMs = 1500;
const timedSteps = 2;

/** The methods with work of their own in every step; the others decide values at the start or factors on rates. */
const costly: ReadonlySet<string> = new Set(["mixout", "pretrained-weight-decay", "freeze"]);

/**
 * Loads each model and data set of the study and times some steps and forward passes of each kind of run. Runs that are
 * part of several cells count once; of cells that wait for a choice the mean over all candidates counts.
 *
 * @throws ConfigError, DataError, CheckpointError or HubError where a run could not begin; AbortedError
 */
export async function estimateStudy(study: Study, options: EstimateOptions): Promise<Estimate> {
  const work = workOf(study);
  const kinds = new Map<string, Work[]>();
  for (const item of [...work, ...intermediateOf(work)]) {
    const key = kindKey(item.config);
    kinds.set(key, [...(kinds.get(key) ?? []), item]);
  }
  const estimates: KindEstimate[] = [];
  let prepared: Prepared | null = null;
  try {
    // One after the other those that need the same model and data in memory.
    const order = [...kinds.values()].sort(([a], [b]) => compare(loadKey(a!.config), loadKey(b!.config)));
    for (const [i, items] of order.entries()) {
      const config = withoutTransfer(items[0]!.config);
      options.onKind?.({ task: taskOf(config), model: config.model }, i + 1, order.length);
      if (prepared?.key !== preparedKey(config)) {
        await prepared?.dispose();
        prepared = null;
        prepared = await prepare(config, { signal: options.signal });
      }
      estimates.push(estimateOf(items, prepared, await timesOf(prepared, config, options.signal)));
    }
  } finally {
    await prepared?.dispose();
  }
  return {
    kinds: estimates,
    runs: sum(work.map(({ runs }) => runs)),
    seconds: sum(estimates.map(({ seconds }) => seconds)),
    disk: await diskNeeded(work, options.workers),
  };
}

/** What there is to run: an entry per cell, or per candidate where a cell selects; with the threads of a plan. */
export function workOf(study: Study): Work[] {
  refuseNoModel(study);
  const { cells } = study;
  const variants = (cell: Cell): RunConfig[] => {
    const { select } = cell;
    if (select === null) return [cell.config];
    const candidates = cells.filter((other) => isCandidate(other, select, cell.task)).flatMap(variants);
    return candidates.map((config) => mergeConfigs(config, cell.config));
  };
  const sure = new Set<string>();
  // Runs of cells that select: whoever selects from these takes what was chosen there, so that they share runs.
  const possible = new Set<string>();
  return cells.flatMap((cell) => {
    const configs = variants(cell).map((config) => {
      const resolved = resolveConfig(mergeConfigs({ keep: "none", ...config }, { seed: 0, output: "." }));
      return { ...resolved, threads: resolved.threads === 0 ? threadsOfTrial : resolved.threads };
    });
    const selects = cell.select !== null;
    return configs.map((config): Work => {
      const runs = cell.seeds.map((seeds) => `${configHash(config)} ${labelOf(seeds)}`);
      const added = runs.filter((run) => !sure.has(run) && !(selects && possible.has(run)));
      for (const run of added) (selects ? possible : sure).add(run);
      return { config, runs: added.length / configs.length };
    });
  });
}

/** The runs of intermediate tasks, each once. */
function intermediateOf(work: readonly Work[]): Work[] {
  const runs = work.map(({ config }) => transferRun(config)).filter((config) => config !== null);
  return [...new Map(runs.map((config) => [configHash(config), config])).values()].map((config) => ({
    config,
    runs: 1,
  }));
}

/** The run as it is timed: from the model's own weights. */
function withoutTransfer({ transfer: _, ...config }: ResolvedConfig): ResolvedConfig {
  return config;
}

function loadKey(config: ResolvedConfig): string {
  return preparedKey(withoutTransfer(config));
}

function kindKey(config: ResolvedConfig): string {
  const { batchSize, accumulation, evaluationBatchSize } = config;
  return JSON.stringify([loadKey(config), batchSize, accumulation, evaluationBatchSize, costlyMethods(config)]);
}

function costlyMethods({ methods }: ResolvedConfig): string[] {
  return methods.filter((entry) => isOwnMethod(entry) || costly.has(entry.name)).map(({ name }) => name);
}

interface Times {
  secondsPerStep: number;
  /** One pass over each half. */
  validation: number;
  test: number;
}

async function timesOf(prepared: Prepared, config: ResolvedConfig, signal: AbortSignal | undefined): Promise<Times> {
  const { session, encoded } = prepared;
  await prepared.restoreBase();
  await session.setPlan(await planOf(prepared, config, []), { initSeed: 0, keepStart: false });
  const batches = new StepBatches(encoded.train, config);
  const step = async (number: number): Promise<number> => {
    const parts = batches.parts(number);
    const options = { ...config.optimizer, step: number, learningRate: 0, orderSeed: 0 };
    await session.train(parts, { ...options, dropout: keepsDropout(config.methods) });
    return tokensIn(parts);
  };
  // The first step takes memory that the others find.
  await step(1);
  const perTrainToken = await secondsPerToken((i) => step(i + 2), signal);
  const rows = evaluationBatches(encoded.validation, config.evaluationBatchSize);
  const perToken = await secondsPerToken(async (i) => {
    const batch = packBatch(encoded.validation, rows[i % rows.length] ?? []);
    await session.forward(batch);
    return batch.tokenIds.length;
  }, signal);
  const { train, validation, test } = encoded;
  return {
    secondsPerStep: (perTrainToken * tokens(train) * config.batchSize) / train.rowNumbers.length,
    validation: perToken * tokens(validation),
    test: perToken * tokens(test),
  };
}

/** Batches differ in length, and time follows tokens. */
async function secondsPerToken(run: (i: number) => Promise<number>, signal?: AbortSignal): Promise<number> {
  const begunMs = performance.now();
  let done = 0;
  for (let i = 0; i < timedSteps || performance.now() - begunMs < timedMs; i++) {
    if (signal?.aborted) throw new AbortedError();
    done += await run(i);
  }
  return (performance.now() - begunMs) / 1000 / done;
}

function estimateOf(items: readonly Work[], prepared: Prepared, times: Times): KindEstimate {
  const { config } = items[0]!;
  const rows = prepared.encoded.train.rowNumbers.length;
  const seconds = items.map((item) => {
    const steps = totalSteps(item.config, Math.ceil(rows / item.config.batchSize));
    const points = evaluationPoints(steps, item.config.evaluations, item.config.protocol).length;
    // Both the last and the best checkpoint are scored on both halves.
    const scoring = points * times.validation + 2 * (times.validation + times.test);
    return item.runs * (steps * times.secondsPerStep + scoring);
  });
  return {
    task: taskOf(config),
    model: config.model,
    batchSize: config.batchSize,
    methods: costlyMethods(config),
    runs: sum(items.map(({ runs }) => runs)),
    secondsPerStep: times.secondsPerStep,
    seconds: sum(seconds),
  };
}

function taskOf({ task, data, trainRows }: ResolvedConfig): string {
  return `${task ?? data}${trainRows === undefined ? "" : `, ${trainRows} rows`}`;
}

const tokens = (split: EncodedSplit): number => split.tokenIds.length;
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
