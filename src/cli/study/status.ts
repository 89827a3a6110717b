import type { Command } from "commander";
import type { StudyStatus, TrialStatus } from "../../study/status.js";
import { SlurmError } from "../../errors.js";
import { count, duration, score } from "../format.js";
import { table } from "../table.js";
import { addExamples, print, printJson } from "../verb.js";
import { openTerminal } from "../terminal.js";
import { studyFolder } from "./folder.js";
import { slurmLines } from "./slurm-lines.js";
import { plannedVerb, type PlannedOptions } from "./options.js";

export function defineStatus(parent: Command): void {
  const command = plannedVerb(parent, "status", "how far a study is, by cell, and when it will be done")
    .description(
      "Reads how a study stands from its folder, also while it runs there or elsewhere: it takes no lock and writes " +
        "nothing. Where it was given to Slurm, the queue is asked as well.",
    )
    .action(status);
  addExamples(command, [
    ["A study that is running", "steadytune study status runs/tickets"],
    ["For programs: every trial with its state", "steadytune study status runs/tickets --json"],
  ]);
}

async function status(study: string, options: PlannedOptions): Promise<void> {
  const [{ readStatus }, { trialsInSlurm }] = await Promise.all([
    import("../../study/status.js"),
    import("../../study/slurm/queue.js"),
  ]);
  const folder = await studyFolder(study, options);
  const now = await readStatus(folder);
  const slurm = await trialsInSlurm(folder).catch((error: unknown) => {
    if (error instanceof SlurmError) return error;
    throw error;
  });
  const unknown = slurm instanceof SlurmError ? `the queue is unknown: ${slurm.message}` : null;
  if (unknown !== null) (await openTerminal(options)).warn(unknown);
  if (options.json) {
    printJson({ ...now, slurm: slurm instanceof Map ? Object.fromEntries(slurm) : null });
    return;
  }
  print(
    `${now.title}: ${now.done + now.diverged} of ${count(now.total, "run")} finished${timeLeft(now)}${timeSpent(now)}`,
  );
  print("");
  print(
    table(
      ["stage", "task", "recipe", "runs", "done", "running", "failed", "diverged", "waiting", "best validation"],
      now.cells.map((cell) => [
        ...[cell.stage, cell.task, cell.recipe],
        ...[cell.trials, cell.done, cell.running, cell.failed, cell.diverged, cell.waiting].map(String),
        cell.best === null ? "-" : `${cell.metric} ${score(cell.best)}`,
      ]),
      [0, 1, 2],
    ),
  );
  for (const { recipe, task, from } of now.later)
    print(`later: ${recipe} on ${task}, chosen when "${from}" is finished`);
  for (const { task, state, progress } of now.stages) {
    if (state !== "done") print(`intermediate task ${task}: ${state}${progress ? `, ${stepOf(progress)}` : ""}`);
  }
  for (const trial of now.trials) {
    if (trial.state === "running")
      print(`running: ${nameOf(trial)}${trial.progress ? `: ${stepOf(trial.progress)}` : ""}`);
  }
  for (const trial of now.trials) {
    if (trial.error !== null) print(`failed: ${nameOf(trial)}: ${trial.error.message}`);
  }
  if (slurm instanceof Map) for (const line of slurmLines(now, slurm)) print(line);
}

function timeLeft({ secondsLeft, workSecondsLeft, atLeast, running }: StudyStatus): string {
  const least = atLeast ? "at least " : "";
  if (secondsLeft !== null) return `; ${least}${duration(1000 * secondsLeft)} left, with ${running} at a time`;
  if (workSecondsLeft === null || workSecondsLeft === 0) return "";
  return `; ${least}${duration(1000 * workSecondsLeft)} of work left, and nothing runs`;
}

function timeSpent({ budget, secondsSpent }: StudyStatus): string {
  if (budget === null) return "";
  return `; ${duration(1000 * secondsSpent)} of a budget of ${duration(3_600_000 * budget.hours)} spent`;
}

function stepOf({ step, steps, loss, metric, best }: NonNullable<TrialStatus["progress"]>): string {
  const parts = [`step ${step} of ${steps}`];
  if (loss !== null) parts.push(`loss ${loss.toFixed(4)}`);
  if (best !== null) parts.push(`best ${metric} ${score(best)}`);
  return parts.join(", ");
}

function nameOf({ recipe, task, seed }: TrialStatus): string {
  return `${recipe} on ${task}, ${seed}`;
}
