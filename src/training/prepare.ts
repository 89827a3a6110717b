import { createHash } from "node:crypto";
import type { ResolvedConfig } from "../config/schema.js";
import { encodeExamples } from "../data/encode.js";
import type { EncodedSplit } from "../data/encoded.js";
import { loadTask, splitSeed } from "../data/load-task.js";
import type { Example, TaskData } from "../data/task.js";
import { ConfigError, TokenizerError } from "../errors.js";
import { selectionMetric } from "../metrics/selection.js";
import type { Method } from "../methods/method.js";
import { readModelConfig, type ModelConfig } from "../models/config.js";
import { resolveModel } from "../models/resolve.js";
import { loadWeights } from "../models/weights.js";
import { deviceNote, deviceOf } from "../native/device.js";
import { createSession, type Session } from "../native/session.js";
import type { EncoderShape, NativeTensor } from "../native/types.js";
import { loadTokenizer, type Tokenizer } from "../tokenizer/tokenizer.js";
import type { RunEvent } from "./events.js";
import type { TransferOrigin, Versions } from "./result.js";
import { versionsOf } from "./versions.js";

/**
 * Everything that trials with the same model, data and engine settings share: made once per process, then `train`
 * runs any number of trials on it, one after the other.
 */
export interface Prepared extends AsyncDisposable {
  /** Equal for two configs exactly when one `Prepared` serves both. */
  readonly key: string;
  readonly session: Session;
  readonly versions: Versions;
  /** `config` with the outputs, labels and dropout of this run. */
  readonly model: { readonly source: string; readonly folder: string; readonly config: ModelConfig };
  readonly tokenizer: Tokenizer;
  readonly data: TaskData;
  /** `test` is the same object as `validation` where the data set has one half for both. */
  readonly encoded: EncodedSplits;
  /** Over all rows as the model sees them. */
  readonly dataHash: string;
  /** Parameters that the checkpoint lacks (a head): each trial draws them from its own `initSeed`. */
  readonly initialised: readonly string[];
  /** The intermediate task that the weights come from; null where they are the checkpoint's. */
  readonly transfer: TransferOrigin | null;
  /** Puts the untouched weights back into the session. */
  restoreBase(): Promise<void>;
  dispose(): Promise<void>;
}

export interface EncodedSplits {
  readonly train: EncodedSplit;
  readonly validation: EncodedSplit;
  readonly test: EncodedSplit;
}

/** The best checkpoint of an intermediate task. */
export interface TransferCheckpoint {
  folder: string;
  origin: TransferOrigin;
}

export interface PrepareOptions {
  signal?: AbortSignal | undefined;
  onEvent?: ((event: RunEvent) => void) | undefined;
  /** Methods of the caller's own that the run will be trained with: checked before an intermediate task is trained. */
  methods?: readonly Method[] | undefined;
  /** The folder of the run of an intermediate task, by its id; `transfer-<id>` beside the run's own when not given. */
  transferFolder?: ((id: string) => string) | undefined;
  /** For one trial alone: then no copy of the untouched weights is kept. */
  once?: boolean | undefined;
}

/** Snapshot slot of the weights before any training. */
const baseSlot = "base";

/** What is read before there are any weights in memory. */
export type Inputs = Pick<Prepared, "model" | "tokenizer" | "data" | "encoded">;

/**
 * Finds the model (fetching it when it is a hub id), reads and tokenizes the data.
 *
 * @throws ConfigError, DataError, CheckpointError, TokenizerError or HubError, as the cause is.
 */
export async function readInputs(config: ResolvedConfig, options: PrepareOptions = {}): Promise<Inputs> {
  const { signal, onEvent = () => {} } = options;
  const { folder, source, notes } = await resolveModel(config.model, {
    revision: config.revision,
    onProgress: ({ bytes, totalBytes }) => onEvent({ type: "prepare", phase: "model", done: bytes, total: totalBytes }),
    signal,
  });
  const checkpoint = await readModelConfig(folder);
  const tokenizer = await loadTokenizer(folder);
  onEvent({ type: "prepare", phase: "data", done: null, total: null });
  const data = await loadTask({ ...config, seed: splitSeed });
  for (const message of [...notes, ...data.notes]) onEvent({ type: "note", message });

  // What a run cannot be scored by is said now, not when its first evaluation is due.
  selectionMetric(data.task, config);
  const model = { source, folder, config: forTask(checkpoint, data.task, config.dropout) };
  refuseMismatch(config, model.config.shape, tokenizer, folder);
  return {
    model,
    tokenizer,
    data,
    encoded: await encodeSplits(tokenizer, data, config.maxLength, { signal, onEvent }),
  };
}

/**
 * Makes the session and loads the weights: the model's, or those that an intermediate task has left.
 *
 * @throws CheckpointError or NativeError, as the cause is.
 */
export async function prepareSession(
  config: ResolvedConfig,
  inputs: Inputs,
  transfer: TransferCheckpoint | null,
  { onEvent = () => {}, once = false }: PrepareOptions = {},
): Promise<Prepared> {
  const { dtype, engine, threads } = config;
  const note = deviceNote(config);
  if (note !== null) onEvent({ type: "note", message: note });
  const sessionOptions = { device: deviceOf(config), dtype, engine, threads };
  const session = createSession(inputs.model.config.shape, sessionOptions);
  try {
    const initialised = await fillWeights(session, inputs.model, { ...config, transfer }, onEvent);
    if (!once) await session.snapshot(baseSlot);
    return {
      ...inputs,
      key: preparedKey(config),
      session,
      versions: versionsOf({ ...sessionOptions, threads: session.threads }),
      dataHash: hashSplits(inputs.encoded),
      initialised,
      transfer: transfer && transfer.origin,
      restoreBase: restorer(session, once),
      dispose: () => session.dispose(),
      [Symbol.asyncDispose]: () => session.dispose(),
    };
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

function restorer(session: Session, once: boolean): () => Promise<void> {
  let used = false;
  return async () => {
    if (!once) return session.restore(baseSlot);
    if (used) throw new ConfigError("what was prepared for one trial alone was given a second one");
    used = true;
  };
}

/** The `key` of the `Prepared` that this config needs, without making it. */
export function preparedKey(config: ResolvedConfig): string {
  const { model, revision, init, dropout, dtype, device, engine: form, threads, transfer } = config;
  const { task, data, validation, test, text, pair, label, trainRows, maxLength } = config;
  const { evaluateOn, skipBadRows, protocol } = config;
  const engine = { model, revision, init, dropout, dtype, device, form, threads, transfer };
  const rows = {
    task,
    data,
    validation,
    test,
    text,
    pair,
    label,
    trainRows,
    maxLength,
    evaluateOn,
    skipBadRows,
    protocol,
  };
  return JSON.stringify({ ...engine, ...rows });
}

/** The checkpoint's config with the head that the task needs, and the run's dropout where it sets one. */
function forTask(checkpoint: ModelConfig, task: TaskData["task"], dropout: number | undefined): ModelConfig {
  const shape: EncoderShape = {
    ...checkpoint.shape,
    ...(dropout !== undefined && everywhere(checkpoint.shape, dropout)),
    outputs: task.problem === "regression" ? 1 : task.labels.length,
    problem: task.problem,
  };
  return { ...checkpoint, shape, labels: task.problem === "regression" ? null : task.labels };
}

/** Dropout in every place where the model's family has one. */
function everywhere({ activationDropout }: EncoderShape, dropout: number): Partial<EncoderShape> {
  return {
    hiddenDropout: dropout,
    attentionDropout: dropout,
    classifierDropout: dropout,
    ...(activationDropout > 0 && { activationDropout: dropout }),
  };
}

function refuseMismatch(config: ResolvedConfig, shape: EncoderShape, tokenizer: Tokenizer, folder: string): void {
  if (config.maxLength > shape.maxPositions) {
    throw new ConfigError(`maxLength is ${config.maxLength}, but ${config.model} has ${shape.maxPositions} positions`);
  }
  if (tokenizer.vocabularySize > shape.vocabularySize) {
    throw new TokenizerError(
      `the tokenizer in ${folder} has ids up to ${tokenizer.vocabularySize - 1}, but the model has ${shape.vocabularySize} words`,
      { hint: "use the tokenizer that the model was trained with" },
    );
  }
}

async function encodeSplits(
  tokenizer: Tokenizer,
  data: TaskData,
  maxLength: number,
  { signal, onEvent }: { signal: AbortSignal | undefined; onEvent: (event: RunEvent) => void },
): Promise<EncodedSplits> {
  const splits = [...new Set([data.train, data.validation, data.test])];
  const total = splits.reduce((rows, { length }) => rows + length, 0);
  let before = 0;
  const encode = async (examples: Example[]): Promise<EncodedSplit> => {
    const split = await encodeExamples(tokenizer, examples, {
      maxLength,
      problem: data.task.problem,
      onProgress: (done) => onEvent({ type: "prepare", phase: "tokenize", done: before + done, total }),
      signal,
    });
    before += examples.length;
    return split;
  };
  const train = await encode(data.train);
  const validation = await encode(data.validation);
  const test = data.test === data.validation ? validation : await encode(data.test);
  return { train, validation, test };
}

/** @returns the names of parameters that have to be drawn. */
async function fillWeights(
  session: Session,
  model: Prepared["model"],
  { init, transfer }: { init: ResolvedConfig["init"]; transfer: TransferCheckpoint | null },
  onEvent: (event: RunEvent) => void,
): Promise<string[]> {
  if (init === "random") return session.parameters.map(({ name }) => name);
  onEvent({ type: "prepare", phase: "weights", done: null, total: null });
  const load = (tensors: Record<string, NativeTensor>): Promise<void> => session.load(tensors);
  const folder = transfer?.folder ?? model.folder;
  const { initialised, notes } = await loadWeights(folder, model.config, session.parameters, load);
  for (const message of notes) onEvent({ type: "note", message });
  if (
    transfer !== null &&
    !session.parameters.some(({ role, name }) => role === "classifier" && initialised.includes(name))
  ) {
    onEvent({
      type: "note",
      message: "The classifier of the intermediate task is kept: both tasks have as many labels.",
    });
  }
  return initialised;
}

function hashSplits({ train, validation, test }: EncodedSplits): string {
  const hash = createHash("sha256");
  for (const { tokenIds, segmentIds, rowOffsets, rowNumbers, labels } of [train, validation, test]) {
    for (const values of [tokenIds, segmentIds, rowOffsets, rowNumbers, labels ?? new Int32Array()]) {
      hash.update(`${values.length};`).update(values);
    }
  }
  return hash.digest("hex").slice(0, 32);
}
