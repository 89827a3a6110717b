import { readFile } from "node:fs/promises";

import { metrics, type ScoredTask } from "#src/metrics/metrics.js";
import test, { type ExecutionContext } from "ava";

interface Golden {
  classification: { pred: number[]; label: number[]; accuracy: number; f1: number; mcc: number; note?: string }[];
  regression: { pred: number[]; label: number[]; spearman: number; pearson: number }[];
}

const golden = JSON.parse(await readFile("test/fixtures/golden/metrics.json", "utf8")) as Golden;
const binary: ScoredTask = { problem: "classification", labels: ["no", "yes"] };
const regression: ScoredTask = { problem: "regression", labels: [] };

function close(t: ExecutionContext, actual: number | undefined, expected: number): void {
  t.true(actual !== undefined && Math.abs(actual - expected) <= 1e-12, `${actual} instead of ${expected}`);
}

test("accuracy, F1 and Matthews correlation equal scikit-learn's, also when one class is predicted alone", (t) => {
  t.true(golden.classification.some(({ note }) => note === "one class predicted"));
  for (const { pred, label, accuracy, f1, mcc } of golden.classification) {
    const logits = Float32Array.from(pred.flatMap((index) => (index === 1 ? [-1, 1] : [1, -1])));
    const scores = metrics(binary, logits, label);
    close(t, scores["accuracy"], accuracy);
    close(t, scores["f1"], f1);
    close(t, scores["matthews"], mcc);
  }
});

test("Spearman and Pearson correlation equal SciPy's, ties included", (t) => {
  t.true(golden.regression.some(({ pred }) => new Set(pred).size < pred.length));
  for (const { pred, label, spearman, pearson } of golden.regression) {
    const scores = metrics(regression, Float64Array.from(pred), label);
    close(t, scores["spearman"], spearman);
    close(t, scores["pearson"], pearson);
  }
});
