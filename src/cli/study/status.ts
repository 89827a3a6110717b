import type { Command } from "commander";
import type { StudyStatus, TrialStatus } from "../../study/status.js";
import { count, duration, score } from "../format.js";
import { table } from "../table.js";
import { addExamples, print, printJson } from "../verb.js";
import { studyFolder } from "./folder.js";
import { plannedVerb, type PlannedOptions } from "./options.js";

export function defineStatus(parent: Command): void {
  const command = plannedVerb(parent, "status", "how far a study is, by cell, and when it will be done")
    .description(
      "Reads how a study stands from its folder, also while it runs there or elsewhere: it takes no lock and writes " +
        "nothing.",
    )
    .action(status);
  addExamples(command, [
    ["A study that is running", "steadytune study status runs/tickets"],
    ["For programs: every trial with its state", "steadytune study status runs/tickets --json"],
  ]);
}

async function status(study: string, options: PlannedOptions): Promise<void> {
  const { readStatus } = await import("../../study/status.js");
  const now = await readStatus(await studyFolder(study, options.output));
  if (options.json) {
    printJson(now);
    return;
  }
  print(`${now.title}: ${now.done + now.diverged} of ${count(now.total, "run")} finished${timeLeft(now)}`);
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
}

function timeLeft({ secondsLeft, workSecondsLeft, atLeast, running }: StudyStatus): string {
  const least = atLeast ? "at least " : "";
  if (secondsLeft !== null) return `; ${least}${duration(1000 * secondsLeft)} left, with ${running} at a time`;
  if (workSecondsLeft === null || workSecondsLeft === 0) return "";
  return `; ${least}${duration(1000 * workSecondsLeft)} of work left, and nothing runs`;
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
