import type { Command } from "commander";
import { ConfigError } from "../../errors.js";
import type { ExecutorConfig, SlurmOptions } from "../../study/slurm/options.js";
import { wholeNumber } from "./options.js";

/** Flags that say where the trials of a study run. */
export interface ExecutorFlags {
  executor?: string;
  workers?: string;
  partition?: string;
  account?: string;
  qos?: string;
  gres?: string;
  time?: string;
  memory?: string;
  parallel?: string;
  trialsPerTask?: string;
  module?: string[];
  setup?: string[];
  sbatch?: string[];
}

export function addExecutorOptions(command: Command): void {
  const collect = (value: string, before: string[] = []): string[] => [...before, value];
  command
    .optionsGroup("Slurm:")
    .option("--executor <name>", "local, or slurm: submit array jobs and return")
    .option("--partition <name>", "as sbatch takes it; so are the next five")
    .option("--account <name>", "who pays")
    .option("--qos <name>", "quality of service")
    .option("--gres <list>", "such as gpu:1")
    .option("--time <limit>", "of an array task, such as 4:00:00; at the limit it goes on in the queue, three times")
    .option("--memory <size>", "of an array task, such as 16G")
    .option("--parallel <n>", "array tasks that run side by side (default: all)")
    .option(
      "--trials-per-task <n>",
      "trials that a task runs one after the other (default: 1, more where they are short)",
    )
    .option("--module <name>", "what `module load` loads first; can be repeated", collect)
    .option("--setup <line>", "a line of bash to run first; can be repeated", collect)
    .option("--sbatch <option>", "any other option of sbatch, such as --sbatch=--exclusive; can be repeated", collect);
}

/**
 * What Slurm is asked for; null where trials run on this machine. Flags come before what the study's file says.
 *
 * @throws ConfigError when a flag is not what it must be
 */
export function chosenExecutor(flags: ExecutorFlags, planned: ExecutorConfig = { name: "local" }): SlurmOptions | null {
  const { partition, account, qos, gres, time, memory, module: modules, setup, sbatch: options } = flags;
  const asked: SlurmOptions = withoutUndefined({
    ...{ partition, account, qos, gres, time, memory, modules, setup, options },
    parallel: flags.parallel === undefined ? undefined : wholeNumber("--parallel", flags.parallel, 1, 1e6),
    trialsPerTask:
      flags.trialsPerTask === undefined ? undefined : wholeNumber("--trials-per-task", flags.trialsPerTask, 1, 1e6),
  });
  const { name: inFile, ...before } = planned;
  const { executor: name = inFile } = flags;
  if (name !== "local" && name !== "slurm") {
    throw new ConfigError(`--executor must be local or slurm, but is ${name}`);
  }
  if (name === "local") {
    const [key] = Object.keys(asked);
    if (key === undefined) return null;
    throw new ConfigError(`${flagOf(key)} is a matter of Slurm, but the trials run on this machine`, {
      hint: "add --executor slurm",
    });
  }
  if (flags.workers !== undefined) {
    throw new ConfigError("--workers is a matter of this machine, but Slurm runs the trials", {
      hint: "--parallel says how many array tasks run side by side",
    });
  }
  const broken = Object.entries(asked).find(([, value]) =>
    [value].flat().some((line) => /[\n\r]|^$/.test(String(line))),
  );
  if (broken !== undefined) {
    throw new ConfigError(`${flagOf(broken[0])} must be one line, but is ${JSON.stringify(broken[1])}`);
  }
  return { ...before, ...asked };
}

function withoutUndefined(options: { [Key in keyof SlurmOptions]: SlurmOptions[Key] | undefined }): SlurmOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** The flag of a key of the study's file. */
function flagOf(key: string): string {
  if (key === "options") return "--sbatch";
  return key === "modules" ? "--module" : `--${key === "trialsPerTask" ? "trials-per-task" : key}`;
}
