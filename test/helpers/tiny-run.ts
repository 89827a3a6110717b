import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { resolveConfig } from "#src/config/resolve.js";
import type { ResolvedConfig, RunConfig } from "#src/config/schema.js";

const fixtures = fileURLToPath(new URL("../../test/fixtures", import.meta.url));

/** 160 made-up tickets in four queues. */
export const ticketsFile = join(fixtures, "tiny/tickets.csv");

/** The tiny reference BERT (3 labels, 4 blocks, hidden 32) with a vocabulary for the tickets, as a model folder. */
export function tinyModel(folder: string): string {
  const model = join(folder, "tiny-bert");
  mkdirSync(model, { recursive: true });
  for (const file of ["config.json", "model.safetensors"]) {
    copyFileSync(join(fixtures, "golden/bert-classification", file), join(model, file));
  }
  copyFileSync(join(fixtures, "tiny/vocab.txt"), join(model, "vocab.txt"));
  writeFileSync(join(model, "tokenizer_config.json"), JSON.stringify({ do_lower_case: true }));
  return model;
}

/** A run of seconds: the tiny BERT on the tickets. */
export function tinyConfig(folder: string, changes: RunConfig = {}): ResolvedConfig {
  return resolveConfig({
    model: tinyModel(folder),
    data: ticketsFile,
    text: "body",
    label: "queue",
    output: join(folder, "run"),
    maxLength: 32,
    batchSize: 16,
    steps: 32,
    threads: 1,
    optimizer: { learningRate: 1e-3 },
    ...changes,
  });
}
