import type { StudyEnd } from "../../study/run.js";
import { count } from "../format.js";
import type { Terminal } from "../terminal.js";

/** Says what of a study was not done: over its budget, failed, or waiting for what failed; failures set the exit code. */
export function tellEnd({ failed, waiting, overBudget }: StudyEnd, folder: string, terminal: Terminal): void {
  if (overBudget.length > 0) {
    terminal.warn(`the budget is spent before ${count(overBudget.length, "run")}; to go on, give more hours: --budget`);
  }
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
