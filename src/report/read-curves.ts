import { readFile } from "node:fs/promises";
import type { RunEvent } from "../training/events.js";
import type { Curves, Point } from "./report-data.js";

/** Windows that a run's loss is averaged over: enough to see its shape, few enough to smooth the batches' noise. */
const windows = 30;

/** Reads `log.jsonl`; a run without a log has empty curves. */
export async function readCurves(path: string, metric: string): Promise<Curves> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { loss: [], validation: [] };
    throw error;
  }
  const losses: number[] = [];
  const validation: Point[] = [];
  let steps = 0;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const event = JSON.parse(line) as RunEvent;
    if (event.type === "step") {
      steps = event.steps;
      losses.push(event.loss);
    }
    if (event.type === "evaluation") {
      const score = event.validation[metric];
      if (score !== undefined) validation.push([event.step, score]);
    }
  }
  return { loss: windowMeans(losses, steps), validation };
}

/**
 * Means over windows of equal length, cut by the whole run's steps so that all runs of a cell share their windows; the
 * last window of a run that ended early may be shorter.
 */
export function windowMeans(losses: readonly number[], steps: number): Point[] {
  const length = Math.max(1, Math.ceil(steps / windows));
  const points: Point[] = [];
  for (let from = 0; from < losses.length; from += length) {
    const window = losses.slice(from, from + length);
    points.push([Math.min(from + length, steps), window.reduce((a, b) => a + b, 0) / window.length]);
  }
  return points;
}
