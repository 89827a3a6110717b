import { sampleInterval } from "../stats/bootstrap.js";
import { holm } from "../stats/holm.js";
import { probabilityOfImprovement } from "../stats/improvement.js";
import { interQuartileMean, max, mean, median, min, std } from "../stats/summary.js";
import { pairedTTest, tTest, tTestOfSummaries } from "../stats/t-test.js";
import {
  groupBy,
  scoreOn,
  scoresOf,
  type Half,
  type PublishedNumbers,
  type ReportCell,
  type ReportData,
} from "./report-data.js";

/**
 * A row of the table: a cell in numbers, of test scores unless it says otherwise. Scores are fractions, as metrics give
 * them. Null where there is none: runs that diverged before their first evaluation have no score and are in none of
 * these numbers but `runs`, `degenerate` and `diverged`.
 */
export interface CellSummary {
  stage: string;
  task: string;
  recipe: string;
  metric: string;
  planned: number;
  /** Finished runs. */
  runs: number;
  /** Those that have a score. */
  scored: number;
  mean: number | null;
  /** Of the sample (ddof 1); null with fewer than two runs. */
  std: number | null;
  median: number | null;
  interQuartileMean: number | null;
  worst: number | null;
  best: number | null;
  /** 95 % percentile bootstrap intervals over runs; null with fewer than two. */
  meanLow: number | null;
  meanHigh: number | null;
  medianLow: number | null;
  medianHigh: number | null;
  interQuartileMeanLow: number | null;
  interQuartileMeanHigh: number | null;
  validationMean: number | null;
  validationStd: number | null;
  /** Runs no better than always predicting the majority class. */
  degenerate: number;
  degenerateShare: number | null;
  /** Runs whose loss stopped being finite. */
  diverged: number;
  divergedShare: number | null;
  /** The mean over pairs of runs of the share of test rows that they disagree on. */
  disagreement: number | null;
  /** What always predicting the majority class scores on the test rows. */
  majority: number | null;
  /** How much higher the mean is than that of the task's first recipe. */
  difference: number | null;
  /** One-tailed pooled t-test (as the paper's) that the mean is higher than that of the task's first recipe. */
  pHigher: number | null;
  /** The same p after Holm's correction for all recipes of the task that are compared with the first. */
  pHolm: number | null;
  /** The same test without assuming one variance for both (Welch's). */
  pWelch: number | null;
  /** The same as a paired test over the runs that share a seed with one of the first recipe. */
  pPaired: number | null;
  /** How many such pairs there are. */
  pairs: number;
  /** How likely a run is better than one of the first recipe, ties counting half. */
  probabilityOfImprovement: number | null;
  publishedTest: number | null;
  publishedTestStd: number | null;
  publishedTestRuns: number | null;
  /** Two-tailed Welch's test that our mean differs from the published one. */
  pPublishedTest: number | null;
  publishedValidation: number | null;
  publishedValidationStd: number | null;
  publishedValidationRuns: number | null;
  pPublishedValidation: number | null;
  publishedSource: string | null;
  /** Seconds of all runs together. */
  seconds: number;
}

/** The level of all tests, which is the paper's. */
export const significance = 0.05;

/** Draws of intervals are the same for every cell: equal scores have equal intervals. */
const intervalSeed = 0;

/** Summaries in the order of the cells. */
export function summarize({ cells }: ReportData): CellSummary[] {
  const summaries = cells.map((cell) => {
    const first = cells.find(({ stage, task }) => stage === cell.stage && task === cell.task) ?? cell;
    return summarizeCell(cell, first);
  });
  for (const family of groupBy(summaries, ({ stage, task }) => JSON.stringify([stage, task]))) {
    const adjusted = holm(family.map(({ pHigher }) => pHigher ?? NaN));
    for (const [i, summary] of family.entries()) summary.pHolm = known(adjusted[i] ?? NaN);
  }
  return summaries;
}

function summarizeCell(cell: ReportCell, first: ReportCell): CellSummary {
  const { stage, task, recipe, planned, runs, published } = cell;
  const results = runs.map(({ result }) => result);
  const scores = scoresOf(cell);
  const validation = scoresOf(cell, "validation");
  const [degenerate, diverged] = [
    results.filter((result) => result.degenerate).length,
    results.filter((result) => result.diverged).length,
  ];
  const [meanLow, meanHigh] = intervalOf(scores, mean);
  const [medianLow, medianHigh] = intervalOf(scores, median);
  const [interQuartileMeanLow, interQuartileMeanHigh] = intervalOf(scores, interQuartileMean);
  return {
    ...{ stage, task, recipe },
    metric: results[0]?.metric ?? "",
    planned,
    runs: runs.length,
    scored: scores.length,
    mean: known(mean(scores)),
    std: known(std(scores)),
    median: known(median(scores)),
    interQuartileMean: known(interQuartileMean(scores)),
    worst: known(min(scores)),
    best: known(max(scores)),
    ...{ meanLow, meanHigh, medianLow, medianHigh, interQuartileMeanLow, interQuartileMeanHigh },
    validationMean: known(mean(validation)),
    validationStd: known(std(validation)),
    degenerate,
    degenerateShare: known(degenerate / runs.length),
    diverged,
    divergedShare: known(diverged / runs.length),
    disagreement: cell.disagreement,
    majority: results[0]?.majority.test ?? null,
    ...(cell === first ? notCompared : compare(cell, first)),
    ...publishedColumns(published.test, published.validation),
    pPublishedTest: pPublished(scores, published.test),
    pPublishedValidation: pPublished(validation, published.validation),
    seconds: results.reduce((total, { seconds }) => total + seconds.total, 0),
  };
}

type Comparison = Pick<
  CellSummary,
  "difference" | "pHigher" | "pHolm" | "pWelch" | "pPaired" | "pairs" | "probabilityOfImprovement"
>;

const notCompared: Comparison = {
  difference: null,
  pHigher: null,
  pHolm: null,
  pWelch: null,
  pPaired: null,
  pairs: 0,
  probabilityOfImprovement: null,
};

function compare(cell: ReportCell, first: ReportCell): Comparison {
  const [scores, others] = [scoresOf(cell), scoresOf(first)];
  const otherBySeed = new Map(first.runs.map((run) => [run.seed, scoreOn("test", run)]));
  const pairs = cell.runs.flatMap((run) => {
    const [own, other] = [scoreOn("test", run), otherBySeed.get(run.seed) ?? null];
    return own === null || other === null ? [] : [[own, other] as const];
  });
  const [left, right] = [pairs.map(([own]) => own), pairs.map(([, other]) => other)];
  return {
    difference: known(mean(scores) - mean(others)),
    pHigher: known(tTest(scores, others, { alternative: "greater", variances: "pooled" }).p),
    pHolm: null,
    pWelch: known(tTest(scores, others, { alternative: "greater", variances: "welch" }).p),
    pPaired: known(pairedTTest(left, right, "greater").p),
    pairs: pairs.length,
    probabilityOfImprovement: known(probabilityOfImprovement(scores, others)),
  };
}

function publishedColumns(test: PublishedNumbers | undefined, validation: PublishedNumbers | undefined) {
  const fraction = (value: number | undefined): number | null => (value === undefined ? null : value / 100);
  return {
    publishedTest: fraction(test?.mean),
    publishedTestStd: fraction(test?.std),
    publishedTestRuns: test?.n ?? null,
    publishedValidation: fraction(validation?.mean),
    publishedValidationStd: fraction(validation?.std),
    publishedValidationRuns: validation?.n ?? null,
    publishedSource: [...new Set([test?.source, validation?.source])].filter((one) => one).join(", ") || null,
  };
}

/** Null where nothing is published, or not its deviation and number of runs. */
function pPublished(scores: readonly number[], published: PublishedNumbers | undefined): number | null {
  if (published?.std === undefined || published.n === undefined) return null;
  const ours = { mean: 100 * mean(scores), std: 100 * std(scores), n: scores.length };
  const theirs = { mean: published.mean, std: published.std, n: published.n };
  return known(tTestOfSummaries(ours, theirs, { alternative: "two-sided", variances: "welch" }).p);
}

function intervalOf(
  scores: readonly number[],
  statistic: (sample: readonly number[]) => number,
): [number, number] | [null, null] {
  return scores.length < 2 ? [null, null] : sampleInterval(scores, statistic, { seed: intervalSeed });
}

/** The p value of "the two halves' means of these cells differ", two-tailed, as in the paper's Table 4. */
export function pDifferent(a: ReportCell, b: ReportCell, half: Half): number | null {
  const options = { alternative: "two-sided", variances: "pooled" } as const;
  return known(tTest(scoresOf(a, half), scoresOf(b, half), options).p);
}

/** One-tailed, pooled, as the paper's: whether the mean of `a` is higher. */
export function pHigherThan(a: ReportCell, b: ReportCell): number | null {
  return known(tTest(scoresOf(a), scoresOf(b), { alternative: "greater", variances: "pooled" }).p);
}

const known = (value: number): number | null => (Number.isNaN(value) ? null : value);
