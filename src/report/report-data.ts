import type { RunResult } from "../training/result.js";

/** Everything that a report shows, read from run folders. */
export interface ReportData {
  title: string;
  description: string | null;
  cells: ReportCell[];
}

/** One recipe on one task, with as many runs as are finished. */
export interface ReportCell {
  stage: string;
  task: string;
  recipe: string;
  /** How many runs the study plans for this cell. */
  planned: number;
  runs: ReportRun[];
}

export interface ReportRun {
  /** Name of the run's folder. */
  id: string;
  /** "seed 3". */
  seed: string;
  result: RunResult;
  curves: Curves;
}

export interface Curves {
  /** Training loss, one point per window of steps: the window's last step and its mean loss. */
  loss: Point[];
  /** Score on the validation rows by the metric that selects, one point per evaluation. */
  validation: Point[];
}

export type Point = readonly [step: number, value: number];

/** The score that tables and figures show: that of the validation-best checkpoint on the test rows; null without one. */
export function testScore({ result }: ReportRun): number | null {
  const score = result.best?.test[result.metric];
  return score === undefined || Number.isNaN(score) ? null : score;
}
