import { plural } from "../../data/plural.js";
import type { BudgetConfig } from "../schema.js";
import type { SlurmOptions } from "./options.js";

/** Seconds before its time limit at which a task is told: enough to write a state file. */
export const warningSeconds = 90;

export interface ScriptOptions extends SlurmOptions {
  /** The study's name. */
  name: string;
  /** The study's folder. */
  folder: string;
  /** The submission's folder, with the file `tasks`: a line for each task, with its trials. */
  submission: string;
  tasks: number;
  trials: number;
  /** Jobs that must have ended, well or not, before this one begins. */
  after?: readonly string[];
  /** What the tasks are given by the flag --budget. */
  budget?: BudgetConfig | undefined;
  /** Threads of a trial. */
  threads: number;
  /** What runs steadytune: node and the path of its program. */
  command: readonly string[];
}

/** The sbatch script of an array job, to be read by people too. */
export function batchScript(options: ScriptOptions): string {
  const { name, folder, submission, tasks, trials, threads, parallel, modules = [], setup = [] } = options;
  const { partition, account, qos, gres, time, memory, command, budget, after = [] } = options;
  const directives = [
    `--job-name=${quoted(`steadytune-${name}`)}`,
    `--array=0-${tasks - 1}${parallel === undefined ? "" : `%${parallel}`}`,
    // By this the job is found again when whoever submitted it was killed before it knew the job's number.
    `--comment=${quoted(submission)}`,
    // A % would begin a placeholder.
    `--output=${quoted(`${submission.replaceAll("%", "%%")}/logs/%a.log`)}`,
    "--open-mode=append",
    "--requeue",
    `--signal=B:USR2@${warningSeconds}`,
    "--ntasks=1",
    `--cpus-per-task=${threads}`,
    ...Object.entries({ partition, account, qos, gres, time, mem: memory }).flatMap(([option, value]) =>
      value === undefined ? [] : [`--${option}=${quoted(value)}`],
    ),
    ...(after.length === 0 ? [] : [`--dependency=${after.map((job) => `afterany:${job}`).join(",")}`]),
    ...(options.options ?? []),
  ];
  const flags = budget === undefined ? "" : ` --budget ${budget.hours}`;
  const own = [...modules.map((module) => `module load ${shellWord(module)} || exit`), ...setup];
  return [
    "#!/usr/bin/env bash",
    `# Written by steadytune: ${plural(trials, "trial")} of the study in`,
    `#   ${folder}`,
    `# as ${plural(tasks, "array task")}. \`steadytune study status\` and \`steadytune study cancel\` know this job.`,
    ...directives.map((directive) => `#SBATCH ${directive}`),
    "",
    `# USR2 comes ${warningSeconds} s before the time limit. While bash is at work there is nothing to save yet.`,
    "trap '' USR2",
    ...(own.length === 0 ? [] : ["", ...own]),
    "",
    "# On USR2 or TERM the trial at work saves its state, and the task puts itself back into the queue, where it goes on:",
    "# always when it is preempted, three times at the time limit, never after scancel. exec makes it the process that",
    "# Slurm signals.",
    `trials=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" ${shellWord(`${submission}/tasks`)})`,
    `exec ${command.map(shellWord).join(" ")} study run ${shellWord(folder)} --trials "$trials"${flags}`,
    "",
  ].join("\n");
}

/** As sbatch reads the value of an option. */
function quoted(value: string): string {
  return /^[\w./:=%,+@~-]*$/.test(value) ? value : `"${value.replaceAll(/(["\\])/g, "\\$1")}"`;
}

/** As bash reads a word. */
export function shellWord(value: string): string {
  return /^[\w./:=%,+@-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`;
}
