import { isDegenerate, majorityBaseline } from "#src/metrics/baseline.js";
import { metrics, predictedClasses, rowScorer, type ScoredTask } from "#src/metrics/metrics.js";
import { selectionMetric } from "#src/metrics/selection.js";
import { ConfigError } from "#src/errors.js";
import test from "ava";

const binary: ScoredTask = { problem: "classification", labels: ["no", "yes"] };
const four: ScoredTask = { problem: "classification", labels: ["a", "b", "c", "d"] };
const regression: ScoredTask = { problem: "regression", labels: [] };

/** Logits that predict these classes. */
function predicting(classes: number[], outputs: number): Float32Array {
  return Float32Array.from(
    classes.flatMap((wanted) => Array.from({ length: outputs }, (_, i) => (i === wanted ? 2 : 0))),
  );
}

function closeTo(value: number | undefined, expected: number): boolean {
  return value !== undefined && Math.abs(value - expected) <= 1e-12;
}

test("with more than two classes F1 is the mean over those that occur, and Matthews its general form", (t) => {
  const labels = [0, 1, 2, 2, 1, 0, 2, 1, 0, 2];
  const scores = metrics(four, predicting([0, 2, 2, 2, 1, 1, 0, 1, 0, 2], 4), labels);
  // Values from scikit-learn; class d occurs neither in the labels nor in the predictions.
  t.true(closeTo(scores["accuracy"], 0.7));
  t.true(closeTo(scores["f1"], 0.6944444444444443));
  t.true(closeTo(scores["matthews"], 0.5454545454545454));

  const wrongClass = metrics(four, predicting([0, 3, 1, 1], 4), [0, 0, 1, 1]);
  t.true(closeTo(wrongClass["f1"], 0.5555555555555555));
  t.true(closeTo(wrongClass["matthews"], 0.6708203932499369));
});

test("the loss is the mean cross-entropy, or the mean squared error, also for logits beyond exp's range", (t) => {
  const three: ScoredTask = { problem: "classification", labels: ["a", "b", "c"] };
  const scores = metrics(three, Float32Array.from([2, -1, 0.5, 0, 0, 3, 1, 1, 1]), [0, 2, 1]);
  t.true(closeTo(scores["loss"], 0.4782821805820759));
  t.is(metrics(binary, Float32Array.from([1000, -1000]), [1])["loss"], 2000);
  t.is(metrics(regression, Float32Array.from([1, 3]), [2, 5])["loss"], 2.5);
});

test("the names of the scores are fixed", (t) => {
  t.deepEqual(Object.keys(metrics(binary, predicting([0, 1], 2), [0, 1])), ["accuracy", "f1", "matthews", "loss"]);
  t.deepEqual(Object.keys(metrics(regression, Float32Array.of(1, 2), [1, 2])), ["spearman", "pearson", "loss"]);
});

test("no rows have no scores", (t) => {
  t.deepEqual(metrics(binary, new Float32Array(0), []), {});
  t.deepEqual(majorityBaseline(binary, []), {});
});

test("logits that do not fit the rows are refused", (t) => {
  t.throws(() => metrics(binary, new Float32Array(3), [0, 1]), {
    instanceOf: RangeError,
    message: /need 4 logits, not 3/,
  });
});

test("a constant prediction has correlation 0, not NaN", (t) => {
  const scores = metrics(regression, Float32Array.of(2, 2, 2), [1, 2, 3]);
  t.is(scores["spearman"], 0);
  t.is(scores["pearson"], 0);
});

test("of equal logits the first class is predicted", (t) => {
  t.deepEqual([...predictedClasses(Float32Array.of(1, 1, 0, 3, 3, 3), 3)], [0, 0]);
});

test("a scorer over chosen rows equals the metrics of those rows", (t) => {
  const predicted = [0, 1, 1, 0, 1, 1];
  const labels = [0, 1, 0, 1, 1, 0];
  const rows = [5, 1, 1, 4, 3];
  const chosen = metrics(
    binary,
    predicting(
      rows.map((row) => predicted[row]!),
      2,
    ),
    rows.map((row) => labels[row]!),
  );
  for (const name of ["accuracy", "f1", "matthews"] as const) {
    t.is(rowScorer(binary, name, predicting(predicted, 2), labels)(Int32Array.from(rows)), chosen[name]!);
  }
  const values = [0.5, 2, 2, -1, 3, 0.25];
  const targets = [1, 2, 2, 2, 5, 0];
  const chosenScores = metrics(
    regression,
    Float32Array.from(rows, (row) => values[row]!),
    rows.map((row) => targets[row]!),
  );
  for (const name of ["spearman", "pearson"] as const) {
    t.is(rowScorer(regression, name, Float32Array.from(values), targets)(Int32Array.from(rows)), chosenScores[name]!);
  }
});

test("the majority baseline predicts the most frequent class of the rows that are scored", (t) => {
  const baseline = majorityBaseline(binary, [1, 1, 1, 0]);
  t.deepEqual(baseline, { accuracy: 0.75, f1: 6 / 7, matthews: 0 });
  t.deepEqual(majorityBaseline(binary, [0, 0, 1]), { accuracy: 2 / 3, f1: 0, matthews: 0 });
  t.deepEqual(majorityBaseline(regression, [1, 2]), { spearman: 0, pearson: 0 });
});

test("a run is degenerate when it is no better than the majority class, or correlates less than 0.1", (t) => {
  const labels = [1, 1, 1, 0];
  t.true(isDegenerate(binary, "accuracy", { accuracy: 0.75 }, labels));
  t.true(isDegenerate(binary, "accuracy", { accuracy: 0.25 }, labels));
  t.false(isDegenerate(binary, "accuracy", { accuracy: 1 }, labels));
  t.true(isDegenerate(binary, "matthews", { matthews: 0 }, labels));
  t.true(isDegenerate(regression, "spearman", { spearman: 0.0999 }, labels));
  t.true(isDegenerate(regression, "spearman", { spearman: -0.8 }, labels));
  t.false(isDegenerate(regression, "spearman", { spearman: 0.1 }, labels));
  t.true(isDegenerate(regression, "spearman", { spearman: NaN }, labels), "a score that is no number");
});

test("the best checkpoint is chosen by the task's metric, selectBy, or accuracy where the released code does", (t) => {
  const mrpc = { name: "MRPC", problem: "classification", metric: "f1" } as const;
  const cola = { name: "CoLA", problem: "classification", metric: "matthews" } as const;
  t.is(selectionMetric(mrpc, { protocol: "paper" }), "f1");
  t.is(selectionMetric(mrpc, { protocol: "released" }), "accuracy");
  t.is(selectionMetric(cola, { protocol: "released" }), "matthews");
  t.is(selectionMetric(mrpc, { protocol: "released", selectBy: "f1" }), "f1");
  const error = t.throws(() => selectionMetric(mrpc, { protocol: "paper", selectBy: "spearman" }), {
    instanceOf: ConfigError,
    message: "selectBy: MRPC is a classification task and has no spearman",
  });
  t.is(error?.hint, "Its metrics are accuracy, f1, matthews.");
});
