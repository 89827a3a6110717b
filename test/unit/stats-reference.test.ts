import { readFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { sampleInterval } from "#src/stats/bootstrap.js";
import { Disagreement } from "#src/stats/disagreement.js";
import { bootstrapBest, expectedBest, type ScoredRun } from "#src/stats/expected-best.js";
import { holm } from "#src/stats/holm.js";
import { probabilityOfImprovement } from "#src/stats/improvement.js";
import { interQuartileMean, max, mean, median, min, std } from "#src/stats/summary.js";
import { pairedTTest, tTest, tTestOfSummaries, type TTest } from "#src/stats/t-test.js";

// What SciPy, statsmodels and rliable say; made by scripts/fixtures/make-stats-reference.py.

type Value = number | "nan" | "inf" | "-inf";
const alternatives = ["less", "greater", "two-sided"] as const;
const variances = ["pooled", "welch"] as const;
type TestKey = `${(typeof variances)[number]} ${(typeof alternatives)[number]}`;
const statistics = { mean, std, median, min, max, interQuartileMean };

interface Reference {
  samples: Record<string, number[]>;
  summaries: ({ sample: string } & Record<keyof typeof statistics, Value>)[];
  tests: ({ a: string; b: string; improvement: number } & Record<TestKey, Value[]>)[];
  paired: ({ a: string; b: string } & Record<(typeof alternatives)[number], Value[]>)[];
  ofSummaries: ({ a: [number, number, number]; b: [number, number, number] } & Record<TestKey, Value[]>)[];
  holm: { p: number[]; adjusted: number[] }[];
  intervals: { sample: string; statistic: "mean" | "median" | "interQuartileMean"; interval: [number, number] }[];
  expected: {
    name: string;
    validation: number[];
    test: number[];
    expected: ({ k: number } & Record<"with replacement" | "without replacement", [number, number]>)[];
  }[];
  disagreement: { predictions: string[][]; share: number }[];
}

const reference = JSON.parse(readFileSync("test/fixtures/stats/reference.json", "utf8")) as Reference;
const sample = (name: string): number[] => reference.samples[name] ?? [];

function close(t: ExecutionContext, actual: number, expected: Value, what: string): void {
  const value = expected === "nan" ? NaN : expected === "inf" ? Infinity : expected === "-inf" ? -Infinity : expected;
  const equal = Object.is(actual, value) || Math.abs(actual - value) <= 1e-11 + 1e-9 * Math.abs(value);
  t.true(equal, `${what}: ${actual} instead of ${expected}`);
}

function closeTest(t: ExecutionContext, actual: TTest, expected: readonly Value[], what: string): void {
  const [statistic = NaN, p = NaN, df] = expected;
  close(t, actual.t, statistic, `${what}, t`);
  close(t, actual.p, p, `${what}, p`);
  // Where there is no p the degrees of freedom mean nothing.
  if (df !== undefined && p !== "nan") close(t, actual.degreesOfFreedom, df, `${what}, degrees of freedom`);
}

test("mean, deviation, median, extremes and inter-quartile mean are NumPy's and rliable's", (t) => {
  for (const { sample: name, ...expected } of reference.summaries) {
    for (const [key, value] of Object.entries(expected)) {
      close(t, statistics[key as keyof typeof statistics](sample(name)), value, `${key} of "${name}"`);
    }
  }
  t.is(interQuartileMean([]), NaN);
});

test("two-sample t-tests are SciPy's, also of constants, ties and single values", (t) => {
  for (const row of reference.tests) {
    for (const one of variances) {
      for (const alternative of alternatives) {
        const options = { alternative, variances: one };
        const key = `${one} ${alternative}` as const;
        closeTest(t, tTest(sample(row.a), sample(row.b), options), row[key], `"${row.a}" and "${row.b}", ${key}`);
      }
    }
  }
});

test("t-tests of printed means and deviations are SciPy's", (t) => {
  const summary = ([middle, deviation, n]: [number, number, number]) => ({ mean: middle, std: deviation, n });
  for (const row of reference.ofSummaries) {
    for (const one of variances) {
      for (const alternative of alternatives) {
        const key = `${one} ${alternative}` as const;
        const options = { alternative, variances: one };
        closeTest(t, tTestOfSummaries(summary(row.a), summary(row.b), options), row[key], key);
      }
    }
  }
});

test("paired t-tests are SciPy's", (t) => {
  for (const row of reference.paired) {
    for (const alternative of alternatives) {
      closeTest(
        t,
        pairedTTest(sample(row.a), sample(row.b), alternative),
        row[alternative],
        `"${row.a}" ${alternative}`,
      );
    }
  }
  t.throws(() => pairedTTest([1, 2], [1], "less"), { instanceOf: RangeError });
});

test("Holm's correction is statsmodels', and leaves tests without a p alone", (t) => {
  for (const { p, adjusted } of reference.holm) {
    for (const [i, value] of holm(p).entries()) close(t, value, adjusted[i] ?? NaN, `p ${p[i]} of ${p.join(", ")}`);
  }
  t.deepEqual(holm([0.01, NaN, 0.04]), [0.02, NaN, 0.04]);
  t.deepEqual(holm([]), []);
});

test("the probability of improvement is rliable's; ties count half, nothing improves on nothing", (t) => {
  for (const { a, b, improvement } of reference.tests) {
    close(t, probabilityOfImprovement(sample(a), sample(b)), improvement, `"${a}" over "${b}"`);
  }
  t.is(probabilityOfImprovement([1, 2], [1, 2]), 0.5);
  t.is(probabilityOfImprovement([], [1]), NaN);
});

test("bootstrap intervals of mean, median and inter-quartile mean are SciPy's percentile intervals", (t) => {
  for (const { sample: name, statistic, interval } of reference.intervals) {
    const values = sample(name);
    const actual = sampleInterval(values, statistics[statistic], { seed: 0, draws: 10000 });
    // Both are draws: 10,000 of them move an end by about 2 % of the interval's length.
    const tolerance = 0.04 * (interval[1] - interval[0]);
    for (const end of [0, 1] as const) {
      const off = Math.abs(actual[end] - interval[end]);
      t.true(off <= tolerance, `${statistic} of "${name}": ${actual.join(" to ")} instead of ${interval.join(" to ")}`);
    }
  }
  t.deepEqual(sampleInterval([0.7], mean, { seed: 0 }), [0.7, 0.7]);
});

const scored = ({ validation, test: scores }: Reference["expected"][number]): ScoredRun[] =>
  validation.map((value, i) => ({ validation: value, test: scores[i] ?? NaN }));

test("the expected score of the best of k is what enumerating all draws gives, ties on validation included", (t) => {
  for (const row of reference.expected) {
    for (const { k, ...ways } of row.expected) {
      for (const way of ["with replacement", "without replacement"] as const) {
        const { mean: middle, std: deviation } = expectedBest(scored(row), k, way);
        close(t, middle, ways[way][0], `"${row.name}", best of ${k} ${way}`);
        t.true(Math.abs(deviation - ways[way][1]) < 1e-9, `"${row.name}", deviation of the best of ${k} ${way}`);
      }
    }
  }
});

test("the paper's 1000-draw bootstrap comes to the closed form", (t) => {
  for (const row of reference.expected) {
    const runs = scored(row);
    for (const k of [1, 2, 5, 20]) {
      const exact = expectedBest(runs, k, "with replacement");
      const drawn = bootstrapBest(runs, k, { seed: 0 });
      // Four standard errors of 1000 draws.
      t.true(Math.abs(drawn.mean - exact.mean) <= 4 * (exact.std / Math.sqrt(1000)) + 1e-12, `"${row.name}", k ${k}`);
      t.true(Math.abs(drawn.std - exact.std) <= 0.15 * exact.std + 1e-12, `"${row.name}", k ${k}, deviation`);
    }
    t.deepEqual(bootstrapBest(runs, 5, { seed: 3 }), bootstrapBest(runs, 5, { seed: 3 }));
  }
});

test("without replacement the best of all runs is the best run; more different runs than there are is no question", (t) => {
  const runs = [0.6, 0.9, 0.7].map((validation, i) => ({ validation, test: i }));
  t.deepEqual(expectedBest(runs, 3, "without replacement"), { mean: 1, std: 0 });
  t.throws(() => expectedBest(runs, 4, "without replacement"), { instanceOf: RangeError });
  for (const k of [0, 1.5]) {
    t.throws(() => expectedBest(runs, k, "with replacement"), { instanceOf: RangeError });
    t.throws(() => bootstrapBest(runs, k, { seed: 0 }), { instanceOf: RangeError });
  }
  t.deepEqual(expectedBest([], 1, "with replacement"), { mean: NaN, std: NaN });
  t.deepEqual(bootstrapBest([], 1, { seed: 0 }), { mean: NaN, std: NaN });
});

test("disagreement is the mean over pairs of runs of the rows on which they differ", (t) => {
  for (const { predictions, share } of reference.disagreement) {
    const runs = new Disagreement();
    for (const labels of predictions) runs.add(labels);
    close(t, runs.share, share, JSON.stringify(predictions));
  }
  const single = new Disagreement();
  single.add(["a"]);
  t.is(single.share, NaN);
  t.throws(() => single.add(["a", "b"]), { instanceOf: RangeError });
});
