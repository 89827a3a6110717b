import type { StudyEnd } from "../../study/run.js";
import { count } from "../format.js";
import type { Terminal } from "../terminal.js";

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
