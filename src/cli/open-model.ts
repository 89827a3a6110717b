import type { PartialConfig } from "../config/schema.js";
import { ConfigError } from "../errors.js";
import type { Model } from "../training/model.js";
import type { Terminal } from "./terminal.js";

/** Flags as commander hands them over: only those given are there. */
export type ModelFlags = Record<string, unknown>;

/** The fine-tuned model that the command line names. What it was trained with decides the length unless a flag does. */
export async function openModel(
  flags: ModelFlags,
  config: PartialConfig,
  { terminal, signal }: { terminal: Terminal; signal: AbortSignal },
): Promise<Model> {
  if (config.model === undefined) {
    throw new ConfigError("no model is given", { hint: "name the best folder of a run, or a hub id: --model DIR" });
  }
  const { loadModel } = await import("../training/model.js");
  const { revision, device, dtype, threads, evaluationBatchSize } = config;
  terminal.status("loading the model");
  return loadModel(config.model, {
    revision,
    device,
    dtype,
    threads,
    batchSize: evaluationBatchSize,
    maxLength: flags["maxLength"] === undefined ? undefined : config.maxLength,
    onNote: (note) => terminal.line(terminal.colors.dim(note)),
    signal,
  });
}
