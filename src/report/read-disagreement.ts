import { readFile } from "node:fs/promises";
import { Disagreement } from "../stats/disagreement.js";

interface PredictedRow {
  split: "validation" | "test";
  /** Absent from the rows of a regression. */
  label?: string;
}

/**
 * On which share of the test rows two runs say different classes, in the mean over pairs of runs.
 *
 * @param paths of `predictions.jsonl` of each run; those that are not there are left out
 * @returns null for a regression, where fewer than two runs have predictions, and where these are about other rows
 */
export async function readDisagreement(paths: readonly string[]): Promise<number | null> {
  const runs = new Disagreement();
  let rows = 0;
  for (const path of paths) {
    const labels = await readTestLabels(path);
    if (labels.length === 0) continue;
    if (rows !== 0 && labels.length !== rows) return null;
    rows = labels.length;
    runs.add(labels);
  }
  return Number.isNaN(runs.share) ? null : runs.share;
}

async function readTestLabels(path: string): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  return text.split("\n").flatMap((line) => {
    if (line === "") return [];
    const { split, label } = JSON.parse(line) as PredictedRow;
    return split === "test" && label !== undefined ? [label] : [];
  });
}
