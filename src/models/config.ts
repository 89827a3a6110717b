import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "../errors.js";
import type { EncoderShape, Problem } from "../native/types.js";
import { ConfigFields } from "./config-fields.js";
import { modelTypes, type ModelType } from "./model-types.js";
import { parseStrictJson } from "./strict-json.js";

/** A model as its folder's config.json describes it. */
export interface ModelConfig {
  /** How transformers calls this kind of model. */
  type: ModelType;
  /** Outputs and problem are the file's own; a run for another task sets its own. */
  shape: EncoderShape;
  /** Class names in index order; null when the file names none, and for regression. */
  labels: string[] | null;
  /** Standard deviation of the normal distribution that new weights are drawn from. */
  initializerRange: number;
  /** The whole file: what is not understood here is kept when the model is saved. */
  raw: Record<string, unknown>;
  /** Numbers of the file that are whole but written as fractions, such as 0.0: transformers tells them apart. */
  fractions: ReadonlyMap<string, string>;
}

/** @throws CheckpointError when config.json is missing, is not JSON, or describes a model that is not supported. */
export async function readModelConfig(folder: string): Promise<ModelConfig> {
  const path = join(folder, "config.json");
  const { raw, text } = await readJson(folder, path);
  const fields = new ConfigFields(path, raw);
  const type = readModelType(path, raw);
  refuseDecoders(path, raw);
  const encoder = type.read(fields);
  const { outputs, problem, labels } = readHead(path, raw, fields);
  return {
    type,
    shape: { family: type.family, ...encoder, outputs, problem },
    labels,
    initializerRange: fields.positive(type.initializerKey, 0.02),
    raw,
    fractions: wholeFractions(raw, text),
  };
}

function wholeFractions(raw: Record<string, unknown>, text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [key, value] of Object.entries(raw)) {
    if (!Number.isInteger(value)) continue;
    const spelled = new RegExp(`${JSON.stringify(key).replaceAll(/[^\w"]/g, "\\$&")}\\s*:\\s*(-?\\d+\\.\\d+)`).exec(
      text,
    )?.[1];
    if (spelled !== undefined) found.set(key, spelled);
  }
  return found;
}

async function readJson(folder: string, path: string): Promise<{ raw: Record<string, unknown>; text: string }> {
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
  return { raw: value as Record<string, unknown>, text };
}

function readModelType(path: string, raw: Record<string, unknown>): ModelType {
  const name = raw["model_type"];
  if (typeof name === "string" && Object.hasOwn(modelTypes, name)) return modelTypes[name] as ModelType;
  const stated = name === undefined ? "names no model_type" : `has the model_type ${JSON.stringify(name)}`;
  throw new CheckpointError(`${path} ${stated}, which is not supported.`, {
    hint: `Supported: ${Object.keys(modelTypes).join(", ")}.`,
  });
}

function refuseDecoders(path: string, raw: Record<string, unknown>): void {
  for (const key of ["is_decoder", "add_cross_attention"]) {
    if (raw[key] === true) throw new CheckpointError(`${path} describes a decoder (${key}), not an encoder.`);
  }
}

function readHead(
  path: string,
  raw: Record<string, unknown>,
  fields: ConfigFields,
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
