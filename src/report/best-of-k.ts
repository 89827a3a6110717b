import { bootstrapBest, expectedBest, type ExpectedScore, type ScoredRun } from "../stats/expected-best.js";
import type { Half, ReportCell } from "./report-data.js";
import { scoreOn } from "./report-data.js";

/** With fewer runs there is no telling what many would give. */
export const fewestRuns = 5;

/** The paper goes up to this many (Figure 4). */
const mostTrials = 50;

/** The score to expect on a half of the run that is best on validation among `k`. */
export interface BestOfK {
  k: number;
  /** Of the paper's 1000 draws with replacement. */
  bootstrap: ExpectedScore;
  /** What ever more draws come to. */
  closedForm: ExpectedScore;
  /** From subsets of different runs, without bias. */
  unbiased: ExpectedScore;
}

/** For k from 1 to the number of runs that have scores, at most 50; empty with fewer than five runs. */
export function bestOfK(cell: ReportCell, half: Half): BestOfK[] {
  const runs = scoredRuns(cell, half);
  return trialCounts(runs).map((k) => ({
    k,
    bootstrap: bootstrapBest(runs, k, { seed: 0 }),
    closedForm: expectedBest(runs, k, "with replacement"),
    unbiased: expectedBest(runs, k, "without replacement"),
  }));
}

/** The closed form alone, which a figure shows. */
export function expectedCurve(cell: ReportCell, half: Half): { k: number; score: ExpectedScore }[] {
  const runs = scoredRuns(cell, half);
  return trialCounts(runs).map((k) => ({ k, score: expectedBest(runs, k, "with replacement") }));
}

function trialCounts(runs: readonly ScoredRun[]): number[] {
  return runs.length < fewestRuns ? [] : Array.from({ length: Math.min(runs.length, mostTrials) }, (_, i) => i + 1);
}

/** Runs are chosen by the metric that also chose their checkpoints. */
function scoredRuns({ runs }: ReportCell, half: Half): ScoredRun[] {
  return runs.flatMap((run) => {
    const score = scoreOn(half, run);
    const validation = run.result.best?.validation[run.result.selectedBy] as number | null | undefined;
    return score === null || validation === undefined || validation === null ? [] : [{ validation, test: score }];
  });
}
