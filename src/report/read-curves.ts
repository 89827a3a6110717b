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
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { loss: [], validation: [], distances: {} };
    throw error;
  }
  const losses: number[] = [];
  const validation: Point[] = [];
  const distances: Record<string, Point[]> = {};
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
    if (event.type === "diagnostics") {
      for (const [block, distance] of Object.entries(event.distances)) {
        (distances[block] ??= []).push([event.step, distance]);
      }
    }
  }
  const thinned = Object.entries(distances).map(([block, points]) => [block, thin(points)] as const);
  return { loss: windowMeans(losses, steps), validation, distances: Object.fromEntries(thinned) };
}

/** At most about `windows` of the points, evenly spaced, the last among them. */
export function thin(points: readonly Point[]): Point[] {
  const stride = Math.ceil(points.length / windows);
  return points.filter((_, i) => (points.length - 1 - i) % stride === 0);
}

/**
 * Means over windows of equal length, cut by the whole run's steps so that all runs of a cell share their windows. What
 * is left over at the end makes a window of its own when it is half as long as the others, and else joins the last.
 */
export function windowMeans(losses: readonly number[], steps: number): Point[] {
  const length = Math.max(1, Math.ceil(steps / windows));
  const count = Math.max(1, Math.round(steps / length));
  const points: Point[] = [];
  for (let i = 0; i < count && i * length < losses.length; i++) {
    const end = i === count - 1 ? steps : (i + 1) * length;
    const window = losses.slice(i * length, end);
    points.push([end, window.reduce((a, b) => a + b, 0) / window.length]);
  }
  return points;
}
