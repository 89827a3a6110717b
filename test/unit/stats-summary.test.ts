import { readFile } from "node:fs/promises";

import { rowScorer, type ScoredTask } from "#src/metrics/metrics.js";
import { bootstrapInterval } from "#src/stats/bootstrap.js";
import { max, mean, median, min, quantile, std, variance } from "#src/stats/summary.js";
import { pairedTTest, tTest } from "#src/stats/t-test.js";
import test, { type ExecutionContext } from "ava";

function close(t: ExecutionContext, actual: number, expected: number, tolerance = 1e-12): void {
  t.true(Math.abs(actual - expected) <= tolerance, `${actual} instead of ${expected}`);
}

const values = [3, 1, 4, 1, 5, 9, 2, 6];

test("mean, median and quantiles equal NumPy's, the standard deviation that of a sample", (t) => {
  t.is(mean(values), 3.875);
  close(t, std(values), 2.748376143938713);
  t.is(median(values), 3.5);
  t.is(median([7, 1, 3]), 3);
  t.is(quantile(values, 0.025), 1);
  t.is(quantile(values, 0.25), 1.75);
  close(t, quantile(values, 0.9), 6.9);
  t.is(quantile(values, 1), 9);
  t.deepEqual([min(values), max(values)], [1, 9]);
  t.deepEqual(values, [3, 1, 4, 1, 5, 9, 2, 6], "the values stay in their order");
});

test("what has no value is NaN", (t) => {
  t.deepEqual([mean([]), median([]), std([1]), min([]), max([])], [NaN, NaN, NaN, NaN, NaN]);
  t.throws(() => quantile(values, 1.5), { instanceOf: RangeError });
});

interface Golden {
  t_tests: {
    a: number[];
    b: number[];
    welch_less: { t: number; p: number };
    student_less: { t: number; p: number };
    mean_a: number;
    std_a_ddof1: number;
  }[];
}

test("one-tailed t-tests, pooled and Welch's, equal SciPy's", async (t) => {
  const golden = JSON.parse(await readFile("test/fixtures/golden/metrics.json", "utf8")) as Golden;
  t.is(golden.t_tests.length, 3);
  for (const { a, b, welch_less: welch, student_less: student, mean_a: meanA, std_a_ddof1: stdA } of golden.t_tests) {
    const pooled = tTest(a, b, { alternative: "less", variances: "pooled" });
    close(t, pooled.t, student.t);
    close(t, pooled.p, student.p);
    const separate = tTest(a, b, { alternative: "less", variances: "welch" });
    close(t, separate.t, welch.t);
    close(t, separate.p, welch.p);
    close(t, mean(a), meanA);
    close(t, std(a), stdA);
  }
});

test("the other two alternatives equal SciPy's", (t) => {
  const a = [0.1, 0.4, 0.35, 0.2];
  const b = [0.5, 0.45, 0.6, 0.38, 0.7];
  close(t, tTest(a, b, { alternative: "greater", variances: "pooled" }).p, 0.9899603365983954);
  close(t, tTest(a, b, { alternative: "two-sided", variances: "pooled" }).p, 0.020079326803209025);
  const welch = tTest(a, b, { alternative: "two-sided", variances: "welch" });
  close(t, welch.p, 0.023990486712488768);
  close(t, welch.degreesOfFreedom, 6.259619570055717);
  close(t, tTest(b, a, { alternative: "greater", variances: "welch" }).p, 0.011995243356244384);
});

test("a t-test of a single value or of equal constants has no p", (t) => {
  t.is(tTest([1], [1, 2], { alternative: "less", variances: "welch" }).p, NaN);
  t.is(tTest([1, 1], [1, 1], { alternative: "less", variances: "pooled" }).p, NaN);
});

test("equal scores have their value as mean, no deviation, and no p against each other in any test", (t) => {
  // Accuracies on RTE's 277 validation rows and on half of them.
  for (const rows of [138, 277]) {
    for (let right = 0; right <= rows; right++) {
      const [a, b] = [19, 20].map((n) => new Array<number>(n).fill(right / rows)) as [number[], number[]];
      for (const values of [a, b]) {
        if (mean(values) !== right / rows || variance(values) !== 0) t.fail(`${values.length} times ${right}/${rows}`);
      }
      for (const alternative of ["less", "greater", "two-sided"] as const) {
        const ps = [
          ...(["pooled", "welch"] as const).map((variances) => tTest(a, b, { alternative, variances }).p),
          pairedTTest(a, a, alternative).p,
        ];
        if (!ps.every(Number.isNaN)) t.fail(`${right}/${rows}, ${alternative}: p ${ps.join(", ")}`);
      }
    }
  }
  t.pass();
});

test("pairs that all differ by the same have no deviation to divide by", (t) => {
  const zeros = new Array<number>(19).fill(0);
  t.is(pairedTTest(new Array<number>(19).fill(1 / 138), zeros, "greater").t, Infinity);
});

const binary: ScoredTask = { problem: "classification", labels: ["no", "yes"] };

/** `rows` rows of which exactly `right` are predicted right. */
function accuracyScorer(rows: number, right: number): (rows: Int32Array) => number {
  const logits = new Float32Array(2 * rows);
  for (let row = 0; row < rows; row++) logits[2 * row + (row < right ? 0 : 1)] = 1;
  return rowScorer(binary, "accuracy", logits, new Int32Array(rows));
}

test("the bootstrap interval of an accuracy is that of the binomial distribution", (t) => {
  const [low, high] = bootstrapInterval(1000, accuracyScorer(1000, 700), { seed: 1, draws: 4000 });
  // 2.5 % and 97.5 % of Binomial(1000, 0.7) lie at 671 and 728; the draws move them by a row or two.
  t.true(Math.abs(low - 0.671) < 0.004 && Math.abs(high - 0.728) < 0.004, `[${low}, ${high}]`);
});

test("a lower level gives a narrower interval", (t) => {
  const score = accuracyScorer(200, 120);
  const [low, high] = bootstrapInterval(200, score, { seed: 1 });
  const [innerLow, innerHigh] = bootstrapInterval(200, score, { seed: 1, level: 0.5 });
  t.true(low < innerLow && innerLow < 0.6 && 0.6 < innerHigh && innerHigh < high);
});

test("the same seed gives the same interval, another seed another one", (t) => {
  const score = (rows: Int32Array): number => mean([...rows]);
  t.deepEqual(bootstrapInterval(50, score, { seed: 7 }), bootstrapInterval(50, score, { seed: 7 }));
  t.notDeepEqual(bootstrapInterval(50, score, { seed: 7 }), bootstrapInterval(50, score, { seed: 8 }));
});

test("every row can be drawn, and none beyond them", (t) => {
  const counts = new Array<number>(7).fill(0);
  bootstrapInterval(
    7,
    (rows) => {
      t.is(rows.length, 7);
      for (const row of rows) counts[row]! += 1;
      return 0;
    },
    { seed: 3 },
  );
  t.is(counts.length, 7);
  t.is(
    counts.reduce((a, b) => a + b),
    7000,
  );
  t.true(
    counts.every((count) => Math.abs(count - 1000) < 150),
    counts.join(" "),
  );
});

test("an interval over no rows is refused", (t) => {
  t.throws(() => bootstrapInterval(0, () => 0, { seed: 1 }), { instanceOf: RangeError });
});
