import { max, mean, median, min, std } from "../stats/summary.js";
import { tTest } from "../stats/t-test.js";
import { testScore, type ReportCell, type ReportData } from "./report-data.js";

/** A row of the table: a cell in numbers. Scores are fractions, as metrics give them; null where there is none. */
export interface CellSummary {
  stage: string;
  task: string;
  recipe: string;
  metric: string;
  planned: number;
  /** Finished runs. */
  runs: number;
  mean: number | null;
  /** Of the sample (ddof 1); null with fewer than two runs. */
  std: number | null;
  median: number | null;
  worst: number | null;
  best: number | null;
  /** Runs no better than always predicting the majority class. */
  degenerate: number;
  /** Runs whose loss stopped being finite. */
  diverged: number;
  /** What always predicting the majority class scores on the test rows. */
  majority: number | null;
  /** One-tailed pooled t-test (as the paper's) that the mean is higher than that of the task's first recipe. */
  pHigher: number | null;
  /** Seconds of all runs together. */
  seconds: number;
}

/** Summaries in the order of the cells. */
export function summarize({ cells }: ReportData): CellSummary[] {
  return cells.map((cell) => {
    const first = cells.find(({ stage, task }) => stage === cell.stage && task === cell.task) ?? cell;
    return summarizeCell(cell, first);
  });
}

export function scoresOf({ runs }: ReportCell): number[] {
  return runs.flatMap((run) => testScore(run) ?? []);
}

function summarizeCell(cell: ReportCell, first: ReportCell): CellSummary {
  const { stage, task, recipe, planned, runs } = cell;
  const results = runs.map(({ result }) => result);
  const scores = scoresOf(cell);
  const compared =
    cell === first ? NaN : tTest(scores, scoresOf(first), { alternative: "greater", variances: "pooled" }).p;
  return {
    stage,
    task,
    recipe,
    metric: results[0]?.metric ?? "",
    planned,
    runs: runs.length,
    mean: known(mean(scores)),
    std: known(std(scores)),
    median: known(median(scores)),
    worst: known(min(scores)),
    best: known(max(scores)),
    degenerate: results.filter(({ degenerate }) => degenerate).length,
    diverged: results.filter(({ diverged }) => diverged).length,
    majority: results[0]?.majority.test ?? null,
    pHigher: known(compared),
    seconds: results.reduce((total, { seconds }) => total + seconds.total, 0),
  };
}

const known = (value: number): number | null => (Number.isNaN(value) ? null : value);
