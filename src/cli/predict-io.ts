import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { ConfigError, DataError } from "../errors.js";
import type { Prediction } from "../training/predictions.js";

/**
 * Calls `read` with a file that holds what stands on standard input, and what to call it. JSON Lines and CSV are told apart by the first
 * character. Errors about the file name standard input.
 *
 * @throws ConfigError where there is a terminal and nobody has piped anything in.
 */
export async function withStandardInput<T>(read: (path: string, name: string) => Promise<T>): Promise<T> {
  if (process.stdin.isTTY) {
    throw new ConfigError("no texts are given", { hint: "name a file, or pipe JSONL or CSV into standard input" });
  }
  const name = "standard input";
  const content = await buffer(process.stdin);
  const json = content.toString("utf8", 0, 1024).trimStart().startsWith("{");
  const folder = await mkdtemp(join(tmpdir(), "steadytune-"));
  const path = join(folder, json ? "standard-input.jsonl" : "standard-input.csv");
  try {
    await writeFile(path, content);
    return await read(path, name);
  } catch (error) {
    if (!(error instanceof DataError || error instanceof ConfigError) || !error.message.includes(path)) throw error;
    const message = error.message.replaceAll(path, name);
    throw new DataError(message, { cause: error, ...(error.hint !== undefined && { hint: error.hint }) });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export type PredictionFormat = "jsonl" | "csv";

/** The line ahead of all others; none in JSONL. */
export function headerLine(format: PredictionFormat, labels: readonly string[]): string {
  if (format === "jsonl") return "";
  const columns = labels.length === 0 ? ["score"] : ["label", ...labels.map((label) => `probability of ${label}`)];
  return csvLine(["row", ...columns]);
}

/** One row's line: its number in the input, from 0, and what the model says. */
export function predictionLine(
  format: PredictionFormat,
  labels: readonly string[],
  row: number,
  prediction: Prediction,
): string {
  if (format === "jsonl") return `${JSON.stringify({ row, ...prediction })}\n`;
  if ("score" in prediction) return csvLine([row, prediction.score]);
  const { label, probabilities } = prediction;
  return csvLine([row, label, ...labels.map((name) => probabilities[name] ?? 0)]);
}

function csvLine(values: readonly (string | number)[]): string {
  const field = (value: string | number) => {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${values.map(field).join(",")}\n`;
}
