import { existsSync } from "node:fs";
import { join } from "node:path";
import { encodeExamples } from "../data/encode.js";
import { loadExamples } from "../data/load-examples.js";
import { loadTask, splitSeed } from "../data/load-task.js";
import type { Example, MetricName, TaskInfo } from "../data/task.js";
import { CheckpointError, ConfigError, DataError } from "../errors.js";
import { majorityBaseline } from "../metrics/baseline.js";
import { readModelConfig, type ModelConfig } from "../models/config.js";
import { resolveModel } from "../models/resolve.js";
import { openSafetensors } from "../models/safetensors.js";
import { loadWeights } from "../models/weights.js";
import { deviceNote, deviceOf, type DeviceSetting } from "../native/device.js";
import { createSession, type Session } from "../native/session.js";
import type { ComputeDtype, Problem } from "../native/types.js";
import { loadTokenizer, type Tokenizer } from "../tokenizer/tokenizer.js";
import { forwardSplit } from "./evaluate.js";
import { predictionsOf, type Prediction } from "./predictions.js";
import type { Scores } from "./result.js";
import { labelsOf, scoreLogits } from "./score.js";

export interface LoadModelOptions {
  /** Branch, tag or commit of a hub id. */
  revision?: string | undefined;
  /** "auto" unless told: the GPU where there is one that works, else the CPU. */
  device?: DeviceSetting | undefined;
  /** float32 unless told. */
  dtype?: ComputeDtype | undefined;
  /** 0, the default: one per physical core. */
  threads?: number | undefined;
  /** Longest input in tokens; what the model was fine-tuned with (128 where that is not known) unless told. */
  maxLength?: number | undefined;
  /** Rows per forward pass, 64 unless told. */
  batchSize?: number | undefined;
  /** What a person should be told, a sentence each. */
  onNote?: ((message: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** One text, or a pair of texts. */
export type TextInput = string | readonly [text: string, pair: string] | { text: string; pair?: string | null };

export interface PredictOptions {
  signal?: AbortSignal | undefined;
}

export interface EvaluateOptions {
  /** A CSV, TSV, JSONL or Parquet file of which all rows are scored, or the folder of the GLUE task that `task` names. */
  data: string;
  task?: string | undefined;
  /** Which rows of a GLUE task, "validation" unless told: one half of dev, as `finetune` cuts it. */
  split?: "train" | "validation" | "test" | undefined;
  /** "full" makes both halves the whole dev set. */
  evaluateOn?: "halves" | "full" | undefined;
  text?: string | undefined;
  pair?: string | undefined;
  label?: string | undefined;
  skipBadRows?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface Evaluation {
  rows: number;
  /** The task's own metric: what `interval` and `majority` are about. */
  metric: MetricName;
  scores: Scores;
  /** 95 % bootstrap interval over rows, [low, high]. */
  interval: [number, number] | null;
  /** What always predicting the most frequent class would score. */
  majority: number;
  /** What was guessed or skipped in the data, one sentence each. */
  notes: string[];
}

/** Older checkpoints and those of other programs do not say what they were trained with. */
const usualMaxLength = 128;

/**
 * A fine-tuned model, ready to predict: any number of calls, also at the same time.
 *
 * @example
 * await using model = await loadModel("runs/tickets/best");
 * const [answer] = await model.predict(["where is my parcel?"]);
 */
export class Model implements AsyncDisposable {
  /** The folder, or `org/name@commit`. */
  readonly source: string;
  readonly problem: Problem;
  /** Class names in index order; empty for regression. */
  readonly labels: readonly string[];
  /** Longest input in tokens; longer ones are cut. */
  readonly maxLength: number;
  readonly #session: Session;
  readonly #tokenizer: Tokenizer;
  readonly #batchSize: number;

  /** Use `loadModel`. */
  constructor(parts: {
    source: string;
    config: ModelConfig;
    maxLength: number;
    session: Session;
    tokenizer: Tokenizer;
    batchSize: number;
  }) {
    const { problem, outputs } = parts.config.shape;
    this.source = parts.source;
    this.problem = problem;
    this.labels =
      problem === "regression" ? [] : (parts.config.labels ?? Array.from({ length: outputs }, (_, i) => `LABEL_${i}`));
    this.maxLength = parts.maxLength;
    this.#session = parts.session;
    this.#tokenizer = parts.tokenizer;
    this.#batchSize = parts.batchSize;
  }

  /**
   * One prediction per text: label and probabilities, or a score.
   *
   * @throws DataError for what is no text; AbortedError between two batches.
   */
  async predict(texts: readonly TextInput[], { signal }: PredictOptions = {}): Promise<Prediction[]> {
    if (!Array.isArray(texts)) throw new ConfigError("predict takes a list of texts, and was given something else");
    const examples = (texts as readonly TextInput[]).map((input, row) => ({
      ...textsOf(input, row),
      row,
      label: null,
    }));
    return predictionsOf({ problem: this.problem, labels: [...this.labels] }, await this.#logits(examples, signal));
  }

  /**
   * Scores the model on labelled rows.
   *
   * @throws DataError where the rows have other labels than the model, or none.
   */
  async evaluate(options: EvaluateOptions): Promise<Evaluation> {
    const { examples, metric, notes } =
      options.task === undefined
        ? await this.#readFile(options)
        : await this.#readTask({ ...options, task: options.task });
    const task: TaskInfo = {
      name: options.task ?? options.data,
      problem: this.problem,
      labels: [...this.labels],
      pairs: examples.some(({ pair }) => pair !== null),
      metric,
    };
    const split = await this.#encode(examples, options.signal);
    const logits = await forwardSplit(this.#session, split, { batchSize: this.#batchSize, signal: options.signal });
    const labels = labelsOf(split);
    const { scores, interval } = scoreLogits(task, logits, labels);
    return {
      rows: examples.length,
      metric,
      scores,
      interval,
      majority: majorityBaseline(task, labels)[metric] ?? 0,
      notes,
    };
  }

  /** Frees the model's memory; later calls reject. */
  dispose(): Promise<void> {
    return this.#session.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #readFile(options: EvaluateOptions): Promise<{ examples: Example[]; metric: MetricName; notes: string[] }> {
    const own = { problem: this.problem, labels: this.labels, labelsNeeded: true };
    const { examples, notes } = await loadExamples({ ...options, ...own });
    return { examples, metric: this.problem === "classification" ? "accuracy" : "spearman", notes };
  }

  async #readTask(
    options: EvaluateOptions & { task: string },
  ): Promise<{ examples: Example[]; metric: MetricName; notes: string[] }> {
    const { task, notes, ...splits } = await loadTask({ ...options, protocol: "paper", seed: splitSeed });
    const indices = this.#indicesOf(task);
    const examples = splits[options.split ?? "validation"].map((example) => ({
      ...example,
      label: example.label === null ? null : (indices?.[example.label] ?? example.label),
    }));
    return { examples, metric: task.metric, notes };
  }

  /** The model's index of each class of the task; null for regression. */
  #indicesOf(task: TaskInfo): number[] | null {
    if (task.problem !== this.problem) {
      throw new DataError(`${task.name} is a ${task.problem} task, but ${this.source} was trained for ${this.problem}`);
    }
    if (task.problem === "regression") return null;
    const byName = task.labels.map((label) => this.labels.indexOf(label));
    if (!byName.includes(-1)) return byName;
    // A checkpoint without names for its classes has them in the task's order.
    if (this.labels.length === task.labels.length && this.labels.every((label) => /^LABEL_\d+$/.test(label))) {
      return task.labels.map((_, index) => index);
    }
    throw new DataError(
      `${task.name} has the classes ${task.labels.join(", ")}, but ${this.source} has ${this.labels.join(", ")}`,
    );
  }

  async #logits(examples: readonly Example[], signal: AbortSignal | undefined): Promise<Float32Array> {
    const split = await this.#encode(examples, signal);
    return forwardSplit(this.#session, split, { batchSize: this.#batchSize, signal });
  }

  #encode(examples: readonly Example[], signal: AbortSignal | undefined) {
    return encodeExamples(this.#tokenizer, examples, { maxLength: this.maxLength, problem: this.problem, signal });
  }
}

/**
 * Loads a fine-tuned checkpoint: the `best` folder of a run, or any BERT for sequence classification that transformers
 * saved, from a folder or the hub.
 *
 * @throws CheckpointError when the checkpoint has no trained classifier, or cannot be read.
 */
export async function loadModel(nameOrPath: string, options: LoadModelOptions = {}): Promise<Model> {
  const {
    revision,
    device = "auto",
    dtype = "float32",
    threads = 0,
    batchSize = 64,
    onNote = () => {},
    signal,
  } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new ConfigError(`batchSize is ${batchSize}, where a whole number of rows from 1 is due`);
  }
  const { folder, source, notes } = await resolveModel(nameOrPath, { revision, signal });
  notes.forEach(onNote);
  const config = await readModelConfig(folder);
  const maxLength = options.maxLength ?? Math.min(await trainedLength(folder), config.shape.maxPositions);
  if (!Number.isInteger(maxLength) || maxLength < 1 || maxLength > config.shape.maxPositions) {
    throw new ConfigError(`maxLength is ${maxLength}, but ${nameOrPath} has ${config.shape.maxPositions} positions`);
  }
  const tokenizer = await loadTokenizer(folder);
  const note = deviceNote({ device });
  if (note !== null) onNote(note);
  const session = createSession(config.shape, { device: deviceOf({ device }), dtype, threads });
  try {
    const { initialised } = await loadWeights(folder, config, session.parameters, (tensors) => session.load(tensors));
    if (initialised.length > 0) {
      throw new CheckpointError(
        `${nameOrPath} has no trained ${initialised[0]?.split(".")[0]}: it cannot predict yet`,
        {
          hint: "fine-tune it first (steadytune finetune), or name the best folder of a run",
        },
      );
    }
    return new Model({ source, config, maxLength, session, tokenizer, batchSize });
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

/** The `maxLength` that `finetune` leaves in the weights' header. */
async function trainedLength(folder: string): Promise<number> {
  const path = join(folder, "model.safetensors");
  if (!existsSync(path)) return usualMaxLength;
  await using file = await openSafetensors(path);
  const length = Number(file.metadata["maxLength"]);
  return Number.isInteger(length) && length > 0 ? length : usualMaxLength;
}

/** Callers in plain JavaScript pass anything. */
function textsOf(input: TextInput, row: number): { text: string; pair: string | null } {
  const given: unknown = input;
  let texts: unknown[] = [given];
  if (Array.isArray(given)) texts = given;
  else if (typeof given === "object" && given !== null && "text" in given)
    texts = [given.text, "pair" in given ? given.pair : null];
  const [text, pair = null] = texts;
  if (typeof text === "string" && (pair === null || typeof pair === "string") && texts.length <= 2)
    return { text, pair };
  throw new DataError(`input ${row} is neither a text nor a pair of texts: ${JSON.stringify(given)?.slice(0, 100)}`);
}
