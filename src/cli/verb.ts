import type { Command } from "commander";

/** What every file of a verb exports. */
export interface VerbModule {
  /** Adds arguments, flags, examples and the action. */
  define(command: Command): void;
}

/** Flags that every verb has. */
export interface CommonOptions {
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
}

export function addCommonOptions(command: Command): void {
  command.optionsGroup("Output:");
  command.option("--json", "results as JSON on stdout");
  command.option("--quiet", "no progress and no notes on stderr");
  command.option("--verbose", "traces of errors");
}

/** Examples under the help of a verb, one command a line with what it does. */
export function addExamples(command: Command, examples: readonly (readonly [what: string, line: string])[]): void {
  const lines = examples.map(([what, line]) => `  # ${what}\n  $ ${line.split("\n").join("\n    ")}`);
  command.addHelpText("after", `\nExamples:\n${lines.join("\n\n")}`);
}

/** One result for programs. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** A result for humans. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
