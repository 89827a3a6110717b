import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "../errors.js";
import type { Activation, EncoderShape, Family, Problem } from "../native/types.js";
import { parseStrictJson } from "./strict-json.js";

/** A model as its folder's config.json describes it. */
export interface ModelConfig {
  /** Outputs and problem are the file's own; a run for another task sets its own. */
  shape: EncoderShape;
  /** Class names in index order; null when the file names none, and for regression. */
  labels: string[] | null;
  /** Standard deviation of the normal distribution that new weights are drawn from. */
  initializerRange: number;
  /** The whole file: what is not understood here is kept when the model is saved. */
  raw: Record<string, unknown>;
}

/** `model_type` in config.json of each family. */
const families: Record<string, Family> = { bert: "bert" };

/** transformers' names; "gelu_fast" is the tanh form with its constants multiplied out. */
const activations: Record<string, Activation> = {
  gelu: "gelu",
  gelu_python: "gelu",
  gelu_new: "gelu_tanh",
  gelu_fast: "gelu_tanh",
  gelu_pytorch_tanh: "gelu_tanh",
  relu: "relu",
};

/** Far above any encoder; keeps a damaged file from asking for all memory. */
const maxSize = 2 ** 24;
const maxLayers = 1024;

/** @throws CheckpointError when config.json is missing, is not JSON, or describes a model that is not supported. */
export async function readModelConfig(folder: string): Promise<ModelConfig> {
  const path = join(folder, "config.json");
  const raw = await readJson(folder, path);
  const fields = new Fields(path, raw);
  const family = readFamily(path, raw);
  refuseUnsupported(path, raw);

  const hiddenSize = fields.size("hidden_size");
  const heads = fields.size("num_attention_heads");
  if (hiddenSize % heads !== 0) {
    throw new CheckpointError(`${path}: hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${heads}.`);
  }
  const hiddenDropout = fields.probability("hidden_dropout_prob", 0.1);
  const { outputs, problem, labels } = readHead(path, raw, fields);
  return {
    shape: {
      family,
      vocabularySize: fields.size("vocab_size"),
      hiddenSize,
      layers: fields.size("num_hidden_layers", { max: maxLayers }),
      heads,
      intermediateSize: fields.size("intermediate_size"),
      maxPositions: fields.size("max_position_embeddings", { fallback: 512 }),
      segmentTypes: fields.size("type_vocab_size", { fallback: 2 }),
      layerNormEps: fields.positive("layer_norm_eps", 1e-12),
      activation: readActivation(path, raw),
      hiddenDropout,
      attentionDropout: fields.probability("attention_probs_dropout_prob", 0.1),
      classifierDropout: fields.probability("classifier_dropout", hiddenDropout),
      outputs,
      problem,
    },
    labels,
    initializerRange: fields.positive("initializer_range", 0.02),
    raw,
  };
}

async function readJson(folder: string, path: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const hint =
      "A model folder holds config.json, the weights (model.safetensors or pytorch_model.bin) and a tokenizer.";
    if (!(await stat(folder).catch(() => null))) {
      throw new CheckpointError(`The model folder ${folder} does not exist.`, { hint, cause: error });
    }
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const reason = missing ? "there is no such file" : (error as Error).message;
    throw new CheckpointError(`${path} cannot be read: ${reason}.`, { hint, cause: error });
  }
  let value: unknown;
  try {
    value = parseStrictJson(text);
  } catch (error) {
    throw new CheckpointError(`${path} is not JSON: ${(error as Error).message}.`, { cause: error });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CheckpointError(`${path} is not a JSON object.`);
  }
  return value as Record<string, unknown>;
}

function readFamily(path: string, raw: Record<string, unknown>): Family {
  const type = raw["model_type"];
  const family = typeof type === "string" && Object.hasOwn(families, type) ? families[type] : undefined;
  if (family !== undefined) return family;
  const stated = type === undefined ? "names no model_type" : `has the model_type ${JSON.stringify(type)}`;
  throw new CheckpointError(`${path} ${stated}, which is not supported.`, {
    hint: `Supported: ${Object.keys(families).join(", ")}.`,
  });
}

function readActivation(path: string, raw: Record<string, unknown>): Activation {
  const name = raw["hidden_act"] ?? "gelu";
  const activation = typeof name === "string" && Object.hasOwn(activations, name) ? activations[name] : undefined;
  if (activation !== undefined) return activation;
  throw new CheckpointError(`${path}: the activation ${JSON.stringify(name)} (hidden_act) is not supported.`, {
    hint: `Supported: ${Object.keys(activations).join(", ")}.`,
  });
}

/** Switches of transformers that change what the encoder computes. */
function refuseUnsupported(path: string, raw: Record<string, unknown>): void {
  const positions = raw["position_embedding_type"] ?? "absolute";
  if (positions !== "absolute") {
    throw new CheckpointError(
      `${path}: position_embedding_type ${JSON.stringify(positions)} is not supported, only "absolute".`,
    );
  }
  for (const key of ["is_decoder", "add_cross_attention"]) {
    if (raw[key] === true) throw new CheckpointError(`${path} describes a decoder (${key}), not an encoder.`);
  }
}

function readHead(
  path: string,
  raw: Record<string, unknown>,
  fields: Fields,
): { outputs: number; problem: Problem; labels: string[] | null } {
  const labels = readLabels(path, raw["id2label"]);
  const count = labels?.length ?? 2;
  const outputs = fields.size("num_labels", { fallback: count });
  if (labels && outputs !== count) {
    throw new CheckpointError(`${path}: num_labels is ${outputs}, but id2label names ${count} labels.`);
  }
  const type = raw["problem_type"] ?? (outputs === 1 ? "regression" : "single_label_classification");
  if (type === "regression") {
    if (outputs === 1) return { outputs, problem: "regression", labels: null };
    throw new CheckpointError(`${path}: regression on ${outputs} values at once is not supported.`);
  }
  if (type === "single_label_classification") return { outputs, problem: "classification", labels };
  throw new CheckpointError(`${path}: the problem_type ${JSON.stringify(type)} is not supported.`, {
    hint: "Supported: single_label_classification, regression.",
  });
}

function readLabels(path: string, value: unknown): string[] | null {
  if (value === undefined || value === null) return null;
  const named = typeof value === "object" && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
  const count = Object.keys(named).length;
  const labels = Array.from({ length: count }, (_, index) => named[index]);
  if (count === 0 || !labels.every((label) => typeof label === "string")) {
    throw new CheckpointError(`${path}: id2label does not give a name for each of the indices 0, 1, 2 and so on.`);
  }
  return labels;
}

/** Numbers out of config.json, each checked, with transformers' default where the file may leave one out. */
class Fields {
  readonly #path: string;
  readonly #raw: Record<string, unknown>;

  constructor(path: string, raw: Record<string, unknown>) {
    this.#path = path;
    this.#raw = raw;
  }

  size(key: string, { fallback, max = maxSize }: { fallback?: number; max?: number } = {}): number {
    return this.#number(key, fallback, `a whole number from 1 to ${max}`, (value) => {
      return Number.isInteger(value) && value >= 1 && value <= max;
    });
  }

  probability(key: string, fallback: number): number {
    return this.#number(key, fallback, "a number from 0 to below 1", (value) => value >= 0 && value < 1);
  }

  positive(key: string, fallback: number): number {
    return this.#number(key, fallback, "a number above 0", (value) => value > 0 && value < Infinity);
  }

  #number(key: string, fallback: number | undefined, wanted: string, fits: (value: number) => boolean): number {
    const value = this.#raw[key] ?? fallback;
    if (value === undefined) throw new CheckpointError(`${this.#path} lacks ${key}.`);
    if (typeof value === "number" && fits(value)) return value;
    throw new CheckpointError(`${this.#path}: ${key} is ${JSON.stringify(value)}, which is not ${wanted}.`);
  }
}
