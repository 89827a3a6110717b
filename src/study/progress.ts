import { readFile } from "node:fs/promises";
import type { RunEvent } from "../training/events.js";
import { runFiles } from "../training/run-folder.js";

/** Where a run under way, or one that was cut off, stands by its log. */
export interface Progress {
  step: number;
  steps: number;
  /** That it has worked so far. */
  seconds: number;
  loss: number | null;
  /** The task's metric, and its best score on the validation rows so far. */
  metric: string;
  best: number | null;
}

/** Reads a run's log, also while it is being written. @returns null where training has not begun. */
export async function readProgress(runFolder: string): Promise<Progress | null> {
  let progress: Progress | null = null;
  for (const event of await readEvents(runFiles(runFolder).log)) {
    if (event.type === "start") {
      progress = { step: 0, steps: event.steps, seconds: 0, loss: null, metric: event.metric, best: null };
    }
    if (progress === null) continue;
    if (event.type === "step") Object.assign(progress, { step: event.step, loss: event.loss });
    if (event.type === "evaluation" && event.best) progress.best = event.validation[progress.metric] ?? null;
    if ("elapsedMs" in event) progress.seconds = event.elapsedMs / 1000;
  }
  return progress;
}

async function readEvents(path: string): Promise<RunEvent[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  // The last line may be one that is just being written.
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  return whole
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as RunEvent);
}
