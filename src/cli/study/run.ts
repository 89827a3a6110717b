import type { Command } from "commander";
import { ConfigError } from "../../errors.js";
import type { StudyEnd } from "../../study/run.js";
import { duration, howDiverged, score } from "../format.js";
import { interruptible } from "../interrupt.js";
import { openTerminal } from "../terminal.js";
import { addExamples, print, printJson } from "../verb.js";
import { watchRun } from "../watch-run.js";
import { watchStudy } from "../watch-study.js";
import { runTask } from "./array-task.js";
import { addExecutorOptions, chosenExecutor, type ExecutorFlags } from "./executor.js";
import { tellChoices } from "./choices.js";
import { studyFolder } from "./folder.js";
import { budgetOf, mostWorkers, plannedVerb, wholeNumber, type PlannedOptions } from "./options.js";
import { submit } from "./submit.js";
import { tellEnd } from "./tell-end.js";

interface RunFlags extends PlannedOptions, ExecutorFlags {
  budget?: string;
  index?: string;
  trials?: string;
}

export function defineRun(parent: Command): void {
  const command = plannedVerb(parent, "run", "train what is planned and not finished")
    .description(
      "Trains every planned trial that is not finished, in any order; again, it does nothing. Several processes may " +
        "run one study at once: they share its trials. Trials that failed are left alone until study retry.",
    )
    .option("--workers <n>", "runs side by side (default: one per GPU; on the CPU as many as cores and memory allow)")
    .option("--budget <hours>", "begin no more runs once those that are finished took so long together")
    .option("--index <n>", "only this trial, by its place in the manifest from 0, in this process: for array jobs")
    .option("--trials <ids>", "only these, with commas between them: what an array task of --executor slurm calls")
    .action(run);
  addExecutorOptions(command);
  addExamples(command, [
    ["All of it", "steadytune study run runs/tickets"],
    ["One trial, as a job of an array", "steadytune study run runs/tickets --index 7"],
    [
      "On a Slurm cluster, 8 GPUs at a time",
      "steadytune study run runs/tickets --executor slurm --partition gpu --gres gpu:1 --time 4:00:00 --parallel 8",
    ],
  ]);
}

/** Of each of these at most one can be given: a trial alone has no workers, and is run whatever the time spent. */
const exclusive = [
  ["index", "trials", "executor"],
  ["index", "workers"],
  ["trials", "workers"],
  ["index", "budget"],
] as const;

async function run(study: string, options: RunFlags): Promise<void> {
  const folder = await studyFolder(study, options);
  for (const flags of exclusive) {
    const given = flags.filter((flag) => options[flag] !== undefined);
    if (given.length > 1) throw new ConfigError(`--${given.join(" and --")} exclude each other`);
  }
  if (options.index !== undefined) return runOne(folder, options.index, options);
  if (options.trials !== undefined) return runTask(folder, options.trials.split(","), options);
  const { requireManifest } = await import("../../study/manifest.js");
  const slurm = chosenExecutor(options, (await requireManifest(folder)).study.executor);
  await (slurm === null ? runAll(folder, options) : submit(folder, slurm, options));
}

async function runAll(folder: string, options: RunFlags): Promise<void> {
  const { runPlanned } = await import("../../study/run.js");
  const workers = options.workers === undefined ? undefined : wholeNumber("--workers", options.workers, 1, mostWorkers);
  const budget = budgetOf(options);
  const terminal = await openTerminal(options);
  const begunMs = performance.now();
  let end: StudyEnd;
  try {
    end = await interruptible(
      terminal,
      (signal) => runPlanned(folder, { workers, budget, signal, onEvent: watchStudy(terminal) }),
      { hint: "the same command goes on where it stopped" },
    );
  } finally {
    terminal.clear();
  }
  if (options.json) {
    const failed = end.failed.map(({ trial: { id }, error: { code, message } }) => ({ id, code, message }));
    printJson({ folder, trials: end.manifest.trials.length, failed });
  }
  tellChoices(end.manifest, terminal);
  tellEnd(end, folder, terminal);
  terminal.line(`${duration(performance.now() - begunMs)}; next: steadytune study report ${folder}`);
}

async function runOne(folder: string, index: string, options: RunFlags): Promise<void> {
  const [{ runIndex }, { requireManifest }] = await Promise.all([
    import("../../study/run-index.js"),
    import("../../study/manifest.js"),
  ]);
  const { trials } = await requireManifest(folder);
  const number = wholeNumber("--index", index, 0, trials.length - 1);
  const terminal = await openTerminal(options);
  const watch = watchRun(terminal, trials[number]!.config);
  const { trial, result } = await interruptible(
    terminal,
    (signal) => runIndex(folder, number, { signal, onEvent: watch }),
    { hint: "the same command goes on where it stopped" },
  );
  terminal.clear();
  if (options.json) printJson(result);
  else {
    const { metric, best, diverged } = result;
    const end = diverged ? howDiverged(result) : `test ${metric} ${score(best?.test[metric])}`;
    print(`${trial.recipe} on ${trial.task}, ${trial.seed}: ${end}`);
  }
}
