import type { Command } from "commander";
import type { StudyEnd } from "../../study/run.js";
import { count, duration, howDiverged, score } from "../format.js";
import { interruptible } from "../interrupt.js";
import { openTerminal, type Terminal } from "../terminal.js";
import { addExamples, print, printJson } from "../verb.js";
import { watchRun } from "../watch-run.js";
import { watchStudy } from "../watch-study.js";
import { studyFolder } from "./folder.js";
import { mostWorkers, plannedVerb, wholeNumber, type PlannedOptions } from "./options.js";

interface RunFlags extends PlannedOptions {
  workers?: string;
  index?: string;
}

export function defineRun(parent: Command): void {
  const command = plannedVerb(parent, "run", "train what is planned and not finished")
    .description(
      "Trains every planned trial that is not finished, in any order; again, it does nothing. Several processes may " +
        "run one study at once: they share its trials. Trials that failed are left alone until study retry.",
    )
    .option("--workers <n>", "runs side by side (default: as many as cores and memory allow)")
    .option("--index <n>", "only this trial, by its place in the manifest from 0, in this process: for array jobs")
    .action(run);
  addExamples(command, [
    ["All of it", "steadytune study run runs/tickets"],
    ["One trial, as a job of an array", "steadytune study run runs/tickets --index 7"],
  ]);
}

async function run(study: string, options: RunFlags): Promise<void> {
  const folder = await studyFolder(study, options.output);
  await (options.index === undefined ? runAll(folder, options) : runOne(folder, options.index, options));
}

async function runAll(folder: string, options: RunFlags): Promise<void> {
  const { runPlanned } = await import("../../study/run.js");
  const workers = options.workers === undefined ? undefined : wholeNumber("--workers", options.workers, 1, mostWorkers);
  const terminal = await openTerminal(options);
  const begunMs = performance.now();
  let end: StudyEnd;
  try {
    end = await interruptible(
      terminal,
      (signal) => runPlanned(folder, { workers, signal, onEvent: watchStudy(terminal) }),
      { hint: "the same command goes on where it stopped" },
    );
  } finally {
    terminal.clear();
  }
  if (options.json) {
    const failed = end.failed.map(({ trial: { id }, error: { code, message } }) => ({ id, code, message }));
    printJson({ folder, trials: end.manifest.trials.length, failed });
  }
  tellFailed(end, folder, terminal);
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

/** Says how many trials failed and what waits for them, and sets the exit code that tells of them. */
export function tellFailed({ failed, waiting }: StudyEnd, folder: string, terminal: Terminal): void {
  if (failed.length === 0) return;
  process.exitCode = 1;
  for (const { cell, trials } of waiting) {
    const name = `"${cell.recipe}" on ${cell.task}`;
    terminal.warn(`${name} waits for ${count(trials, "run")} of the cells that it is chosen from`);
  }
  terminal.warn(`${count(failed.length, "run")} failed; to try again: steadytune study retry ${folder}`);
}
