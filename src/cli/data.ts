import { Option, type Command } from "commander";
import type { SplitDescription, TaskDescription } from "../data/describe.js";
import type { TokenLengths } from "../data/encoded.js";
import type { SplitName, TaskData } from "../data/task.js";
import { addConfigOptions, configFromOptions } from "./config-options.js";
import { bar, count } from "./format.js";
import { modelFolder } from "./model-folder.js";
import { table } from "./table.js";
import { openTerminal, outputColors, type Colors, type Terminal } from "./terminal.js";
import { addExamples, print, printJson, type CommonOptions } from "./verb.js";

export function define(command: Command): void {
  command
    .description(
      "Reads a task as finetune would and prints what it holds: rows and labels of each split, what always predicting\n" +
        "the majority class scores, sample rows, and with --model the lengths in tokens.",
    )
    .action(data);
  addConfigOptions(command, [
    ...(["task", "data", "validation", "test", "text", "pair", "label"] as const),
    ...(["trainRows", "evaluateOn", "skipBadRows", "protocol", "maxLength"] as const),
  ]);
  command.optionsGroup("Tokens:");
  command.addOption(new Option("--model <path>", "folder or hub id of the tokenizer to measure lengths with"));
  addExamples(command, [
    ["A table of your own", "steadytune data --data tickets.csv --text body --label queue --model ./bert-base-uncased"],
    ["The paper's 1k version of a GLUE task", "steadytune data --task CoLA --data ./glue --train-rows 1000"],
  ]);
}

async function data(options: CommonOptions & Record<string, unknown>): Promise<void> {
  const [{ completeConfig, missingData }, { loadTask, splitSeed }, { describeTask }] = await Promise.all([
    import("../config/resolve.js"),
    import("../data/load-task.js"),
    import("../data/describe.js"),
  ]);
  const config = completeConfig(await configFromOptions(options));
  if (config.data === undefined) throw missingData(config.task);
  const terminal = await openTerminal(options);
  const loaded = await loadTask({ ...config, data: config.data, seed: splitSeed });
  const lengths =
    typeof options["model"] === "string"
      ? await measure(loaded, await modelFolder(options["model"], terminal), config.maxLength, terminal)
      : null;
  const description = describeTask(loaded);
  if (options.json) {
    const splits = description.splits.map((split) => ({ ...split, tokens: lengths?.[split.name] ?? null }));
    printJson({ ...description, splits, maxLength: lengths === null ? null : config.maxLength });
  } else {
    print(describe(description, lengths, config.maxLength, outputColors()));
  }
}

type Lengths = Record<SplitName, TokenLengths | null>;

async function measure(task: TaskData, folder: string, maxLength: number, terminal: Terminal): Promise<Lengths> {
  const [{ loadTokenizer }, { encodeExamples }, { tokenLengths }] = await Promise.all([
    import("../tokenizer/tokenizer.js"),
    import("../data/encode.js"),
    import("../data/encoded.js"),
  ]);
  const tokenizer = await loadTokenizer(folder);
  const lengths: Lengths = { train: null, validation: null, test: null };
  for (const name of Object.keys(lengths) as SplitName[]) {
    if (task[name].length === 0) continue;
    const onProgress = (done: number, total: number) =>
      terminal.status(`${bar(done / total, 20)} tokenizing ${name}  ${done} of ${count(total, "row")}`);
    const encoded = await encodeExamples(tokenizer, task[name], { maxLength, problem: task.task.problem, onProgress });
    lengths[name] = tokenLengths(encoded, maxLength);
  }
  terminal.clear();
  return lengths;
}

function describe(found: TaskDescription, lengths: Lengths | null, maxLength: number, colors: Colors): string {
  const { task, splits, samples, notes } = found;
  const kind = task.problem === "classification" ? `${task.labels.length} classes` : "regression";
  const blocks = [
    `${colors.bold(task.name)}: ${kind}, ${task.pairs ? "two texts" : "one text"} a row, scored by ${task.metric}`,
    table(
      ["split", "rows", "from"],
      splits.map(({ name, rows, source }) => [name, String(rows), source]),
      [0, 2],
    ),
    task.problem === "classification" ? labelTable(task.labels, splits) : scoreTable(splits),
  ];
  if (lengths !== null) blocks.push(lengthTable(lengths, maxLength));
  blocks.push(samples.map((sample) => `${colors.bold(String(sample.label))}  ${texts(sample)}`).join("\n"));
  if (notes.length > 0) blocks.push(notes.map((note) => colors.dim(note)).join("\n"));
  return blocks.join("\n\n");
}

function labelTable(labels: readonly string[], splits: readonly SplitDescription[]): string {
  const rows = labels.map((label, i) => [label, ...splits.map((split) => String(split.labels[i]?.rows ?? 0))]);
  const majority = (metric: "accuracy" | "f1") => splits.map((split) => split.majority?.[metric]?.toFixed(4) ?? "-");
  rows.push(["majority class, accuracy", ...majority("accuracy")]);
  if (splits.some((split) => split.majority?.f1 !== undefined)) rows.push(["majority class, f1", ...majority("f1")]);
  return table(["label", ...splits.map(({ name }) => name)], rows);
}

function scoreTable(splits: readonly SplitDescription[]): string {
  const row = (what: "min" | "mean" | "max") => [what, ...splits.map(({ scores }) => scores?.[what].toFixed(3) ?? "-")];
  return table(["score", ...splits.map(({ name }) => name)], [row("min"), row("mean"), row("max")]);
}

function lengthTable(lengths: Lengths, maxLength: number): string {
  const rows = Object.entries(lengths).flatMap(([name, found]) =>
    found === null
      ? []
      : [[name, ...[found.min, found.median, found.mean.toFixed(1), found.p95, found.max, found.full].map(String)]],
  );
  return table(["tokens", "min", "median", "mean", "95 %", "max", `at ${maxLength}`], rows);
}

/** One line, whatever the texts hold. */
function texts({ text, pair }: TaskDescription["samples"][number]): string {
  return [text, ...(pair === null ? [] : [pair])]
    .map((part) => shortened(part.replaceAll(/\s+/g, " "), 70))
    .join(" | ");
}

function shortened(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 3)}...`;
}
