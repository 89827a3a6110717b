import type { StudyEnd } from "../../study/run.js";
import { count } from "../format.js";
import type { Terminal } from "../terminal.js";

/** Says how many trials were not begun for want of time. */
export function tellOverBudget(trials: number, terminal: Terminal): void {
  if (trials === 0) return;
  terminal.warn(`the budget is spent before ${count(trials, "run")}; to go on, give more hours: --budget`);
}

/** Says what of a study was not done: over its budget, failed, or waiting for what failed; failures set the exit code. */
export function tellEnd({ failed, waiting, overBudget }: StudyEnd, folder: string, terminal: Terminal): void {
  tellOverBudget(overBudget.length, terminal);
  if (failed.length === 0) return;
  process.exitCode = 1;
  for (const { cell, trials } of waiting) {
    const name = `"${cell.recipe}" on ${cell.task}`;
    terminal.warn(`${name} waits for ${count(trials, "run")} of the cells that it is chosen from`);
  }
  terminal.warn(
    `${count(failed.length, "run")} failed (which: steadytune study status ${folder}); to try again: steadytune study retry ${folder}`,
  );
}
