import { once } from "node:events";
import { extname } from "node:path";
import { Option, type Command } from "commander";
import type { PartialConfig } from "../config/schema.js";
import type { Example } from "../data/task.js";
import type { Model } from "../training/model.js";
import { addConfigOptions, configFromOptions } from "./config-options.js";
import { bar, count } from "./format.js";
import { interruptible } from "./interrupt.js";
import { openModel, type ModelFlags } from "./open-model.js";
import { headerLine, predictionLine, withStandardInput, type PredictionFormat } from "./predict-io.js";
import { openTerminal, type Terminal } from "./terminal.js";
import { addExamples, type CommonOptions } from "./verb.js";

interface PredictFlags extends CommonOptions, ModelFlags {
  format?: PredictionFormat;
  output?: string;
}

/** Rows between two writes and two looks at the signal. */
const chunkRows = 512;

export function define(command: Command): void {
  command
    .description(
      "Writes what a fine-tuned model says about each text, in order: its row, label and probabilities (a score for " +
        "regression). Texts come from a CSV, TSV, JSONL or Parquet file, or as JSONL or CSV on standard input.",
    )
    .argument("[file]", "the texts; standard input when not given, or -")
    .addOption(
      new Option(
        "--format <name>",
        "of the output (default: csv for an --output that ends in .csv, else jsonl)",
      ).choices(["jsonl", "csv"]),
    )
    .option("--output <path>", "file for the predictions; standard output when not given")
    .action(predict);
  addConfigOptions(command, [
    ...(["model", "revision", "text", "pair", "maxLength", "skipBadRows"] as const),
    ...(["evaluationBatchSize", "device", "dtype", "threads"] as const),
  ]);
  addExamples(command, [
    [
      "A column of a table",
      "steadytune predict --model runs/tickets-seed0/best new.csv --text body --output labels.csv",
    ],
    ["One text", `echo '{"text": "Where is my parcel?"}' | steadytune predict --model runs/tickets-seed0/best`],
  ]);
}

async function predict(file: string | undefined, { output, ...options }: PredictFlags): Promise<void> {
  const { completeConfig } = await import("../config/resolve.js");
  const config = completeConfig(await configFromOptions(options));
  const terminal = await openTerminal(options);
  const format = options.format ?? (output !== undefined && extname(output).toLowerCase() === ".csv" ? "csv" : "jsonl");
  await interruptible(terminal, async (signal) => {
    await using model = await openModel(options, config, { terminal, signal });
    const read = async (path: string, name: string) => {
      const { examples, notes } = await readTexts(path, config, model);
      for (const note of notes) terminal.line(terminal.colors.dim(note.replaceAll(path, name)));
      return examples;
    };
    const examples = await (file === undefined || file === "-" ? withStandardInput(read) : read(file, file));
    const lines = predictions(model, examples, { format, terminal, signal });
    await (output === undefined ? toStandardOutput(lines) : toFile(output, lines));
  });
  terminal.clear();
}

async function readTexts(path: string, config: PartialConfig, { problem, labels }: Model) {
  const { loadExamples } = await import("../data/load-examples.js");
  const { text, pair, skipBadRows } = config;
  return loadExamples({ data: path, text, pair, skipBadRows, problem, labels, labelsNeeded: false });
}

async function* predictions(
  model: Model,
  examples: readonly Example[],
  { format, terminal, signal }: { format: PredictionFormat; terminal: Terminal; signal: AbortSignal },
): AsyncGenerator<string> {
  yield headerLine(format, model.labels);
  for (let from = 0; from < examples.length; from += chunkRows) {
    const chunk = examples.slice(from, from + chunkRows);
    const answers = await model.predict(chunk, { signal });
    yield chunk.map(({ row }, i) => predictionLine(format, model.labels, row, answers[i]!)).join("");
    const done = from + chunk.length;
    terminal.status(`${bar(done / examples.length, 20)} ${done} of ${count(examples.length, "row")}`);
  }
}

async function toStandardOutput(lines: AsyncIterable<string>): Promise<void> {
  for await (const text of lines) if (!process.stdout.write(text)) await once(process.stdout, "drain");
}

/** The file appears when all is said, or not at all. */
async function toFile(path: string, lines: AsyncIterable<string>): Promise<void> {
  const { writeFileAtomic } = await import("../files/atomic.js");
  const parts: string[] = [];
  for await (const text of lines) parts.push(text);
  await writeFileAtomic(path, parts.join(""));
}
