#!/usr/bin/env node
import { setImmediate } from "node:timers/promises";
import { Command, CommanderError } from "commander";
import { describeFailure, describeUsageError, exitCodeOf } from "./cli/failure.js";
import { OutputError } from "./errors.js";
import { clearStatus } from "./cli/terminal.js";
import { addCommonOptions, type VerbModule } from "./cli/verb.js";
import { packageVersion } from "./cli/version.js";

interface Verb {
  name: string;
  summary: string;
  /** Imported when the verb is called, so that help is instant and `tokenize` never opens libtorch. */
  load(): Promise<VerbModule>;
}

const verbs: readonly Verb[] = [
  { name: "finetune", summary: "train one model", load: () => import("./cli/finetune.js") },
  { name: "evaluate", summary: "score a saved model", load: () => import("./cli/evaluate.js") },
  { name: "predict", summary: "labels and probabilities for texts", load: () => import("./cli/predict.js") },
  { name: "verify", summary: "compare this installation with reference values", load: () => import("./cli/verify.js") },
  { name: "study", summary: "many seeds of several recipes, with a report", load: () => import("./cli/study.js") },
  { name: "report", summary: "HTML, CSV and JSON from run folders", load: () => import("./cli/report.js") },
  { name: "data", summary: "what a task holds", load: () => import("./cli/data.js") },
  { name: "tokenize", summary: "texts to token ids", load: () => import("./cli/tokenize.js") },
  { name: "inspect", summary: "versions, libtorch, devices, threads", load: () => import("./cli/inspect.js") },
  { name: "config", summary: "the resolved config of a command line", load: () => import("./cli/config.js") },
];

async function createProgram(args: readonly string[]): Promise<Command> {
  const program = new Command("steadytune")
    .description("Fine-tune BERT-class encoders on few examples: stably, reproducibly and fast.")
    .version(packageVersion(), "--version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help of a command")
    // Flags behind a verb are that verb's, also below `study`, which has some of the same names itself.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(describeUsageError(text)) });
  const called = args[0] === "help" ? args[1] : args[0];
  for (const { name, summary, load } of verbs) {
    const command = program.command(name).summary(summary).description(sentence(summary));
    if (name !== called) continue;
    (await load()).define(command);
    addCommonOptions(command);
  }
  return program;
}

async function main(args: string[]): Promise<void> {
  const program = await createProgram(args);
  if (args.length === 0) {
    program.outputHelp();
    return;
  }
  await program.parseAsync(args, { from: "user" });
}

function sentence(text: string): string {
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`;
}

/** Prints what went wrong and ends the process; Commander has printed its own messages already. */
function fail(error: unknown): never {
  clearStatus();
  if (!(error instanceof CommanderError)) {
    for (const line of describeFailure(error, { verbose: args.includes("--verbose") }))
      process.stderr.write(`${line}\n`);
  }
  process.exit(exitCodeOf(error));
}

const args = process.argv.slice(2);
process.on("uncaughtException", fail);
// A reader that has seen enough, such as `head`, is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  fail(new OutputError(`standard output cannot be written: ${error.message}`, { cause: error }));
});
// Nobody is there to read it any more; that is no reason to stop a run.
process.stderr.on("error", () => {});

try {
  await main(args);
} catch (error) {
  fail(error);
}
// A write that failed is reported on the next turn.
await setImmediate();
process.exit();
