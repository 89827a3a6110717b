import type { ResolvedConfig } from "../config/schema.js";
import type { Choice } from "../study/manifest.js";
import type { Expected } from "../study/schema.js";
import type { RunResult } from "../training/result.js";

/** Everything that a report shows, read from run folders. */
export interface ReportData {
  title: string;
  description: string | null;
  /** In the order of the study's file; the first of a task is what its others are compared with. */
  cells: ReportCell[];
  /** Runs that are in no cell since they failed, each once. */
  failed: FailedRun[];
  /** Cells without runs so far: their config is chosen once stage `from` is finished. */
  later: (Pick<ReportCell, "stage" | "task" | "recipe"> & { from: string })[];
}

export interface FailedRun extends Pick<ReportCell, "stage" | "task" | "recipe"> {
  /** "seed 3". */
  seed: string;
  /** What went wrong. */
  message: string;
}

/** One recipe on one task, with as many runs as are finished. */
export interface ReportCell {
  stage: string;
  task: string;
  recipe: string;
  /** The recipe's name without the point of its grid; the same as `recipe` where it has none. */
  family: string;
  /** That of the first run planned; null for a cell without any yet. */
  config: ResolvedConfig | null;
  /** Published numbers to set ours against. */
  published: Expected;
  /** The cell of an earlier stage whose config this one takes; null for a cell that stands by itself. */
  choice: Choice | null;
  /** How many runs the study plans for this cell. */
  planned: number;
  /**
   * The mean, over pairs of runs, of the share of test rows about which they say different classes; null for a
   * regression, and with fewer than two runs.
   */
  disagreement: number | null;
  /** One that is in several cells of a study is one object in all of them. */
  runs: ReportRun[];
}

/** The two halves that a run is scored on. */
export type Half = "validation" | "test";

/** Numbers of one half as they are printed: 100 times the metric. */
export type PublishedNumbers = NonNullable<Expected[Half]>;

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
  /** L2 distance to where fine-tuning began, by block ("blocks.3", "pooler"); empty for a run without diagnostics. */
  distances: Record<string, Point[]>;
}

export type Point = readonly [step: number, value: number];

/** A run's score by the task's metric, that of its validation-best checkpoint; null without one. */
export function scoreOn(half: Half, { result }: ReportRun): number | null {
  // A score that is no number is null in the file.
  const score = result.best?.[half][result.metric] as number | null | undefined;
  return score === undefined || score === null || Number.isNaN(score) ? null : score;
}

/** The score that tables and figures show. */
export function testScore(run: ReportRun): number | null {
  return scoreOn("test", run);
}

/** Those of all runs that have one. */
export function scoresOf({ runs }: ReportCell, half: Half = "test"): number[] {
  return runs.flatMap((run) => scoreOn(half, run) ?? []);
}

/** Every run once. */
export function distinctRuns(cells: readonly ReportCell[]): ReportRun[] {
  return [...new Set(cells.flatMap(({ runs }) => runs))];
}

type Place = Pick<ReportCell, "stage" | "task">;

/** How tasks are called: "RTE", or "RTE (tuning)" where there are several stages, which can share their tasks. */
export function placeNames(all: readonly Place[]): (place: Place) => string {
  const several = new Set(all.map(({ stage }) => stage)).size > 1;
  return ({ stage, task }) => (several ? `${task} (${stage})` : task);
}

/** Groups of equal key, in the order of their first members. */
export function groupBy<T>(items: readonly T[], key: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return [...groups.values()];
}
