import { readFileSync } from "node:fs";
import test from "ava";
import { evaluationPoints } from "#src/training/evaluation-points.js";
import { learningRate, scheduleFactor, stepsPerEpoch, totalSteps } from "#src/training/schedule.js";

test("the learning rates of the reference trajectory are met exactly", (t) => {
  const reference = JSON.parse(readFileSync("test/fixtures/golden/trajectories.json", "utf8")) as {
    steps: number;
    peak_lr: number;
    runs: { lr: number[] }[];
  };
  const schedule = { peak: reference.peak_lr, steps: reference.steps, warmup: 0.1 };
  for (const run of reference.runs) {
    run.lr.forEach((expected, i) => {
      t.true(Math.abs(learningRate(i + 1, schedule) - expected) <= 1e-18, `step ${i + 1}`);
    });
  }
});

test("warm-up takes int(warmup * steps) steps and the rate reaches 0 after the last step", (t) => {
  t.is(scheduleFactor(0, 96, 0.1), 0);
  t.is(scheduleFactor(9, 96, 0.1), 1);
  t.is(scheduleFactor(96, 96, 0.1), 0);
  t.true(scheduleFactor(95, 96, 0.1) > 0);
});

test("without warm-up the first step has the full rate, and one step is enough for a run", (t) => {
  t.is(learningRate(1, { peak: 2e-5, steps: 10, warmup: 0 }), 2e-5);
  t.is(learningRate(1, { peak: 2e-5, steps: 1, warmup: 0.1 }), 2e-5);
});

test("a run that is all warm-up never divides by zero", (t) => {
  t.deepEqual(
    [1, 2, 3, 4].map((step) => learningRate(step, { peak: 1, steps: 4, warmup: 1 })),
    [0, 0.25, 0.5, 0.75],
  );
});

test("three epochs of the paper's four tasks have the paper's numbers of steps", (t) => {
  const rows = { RTE: 2490, MRPC: 3668, "STS-B": 5749, CoLA: 8551, "1k": 1000 };
  t.deepEqual(
    Object.values(rows).map((n) => totalSteps({ epochs: 3 }, stepsPerEpoch(n, 32))),
    [234, 345, 540, 804, 96],
  );
  t.is(totalSteps({ steps: 400 }, 78), 400);
});

test("ten evaluations are spaced evenly and the last one comes after the last step", (t) => {
  t.deepEqual(evaluationPoints(234, 10, "paper"), [23, 47, 70, 94, 117, 140, 164, 187, 211, 234]);
  t.deepEqual(evaluationPoints(10, 10, "paper"), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test("a run with fewer steps than evaluations is evaluated after each", (t) => {
  t.deepEqual(evaluationPoints(3, 10, "paper"), [1, 2, 3]);
  t.deepEqual(evaluationPoints(3, 10, "released"), [1, 2, 3]);
});

test("the released code evaluates every steps/10 and once more at the end: eleven times, on STS-B ten", (t) => {
  t.is(evaluationPoints(234, 10, "released").length, 11);
  t.is(evaluationPoints(345, 10, "released").length, 11);
  t.is(evaluationPoints(540, 10, "released").length, 10);
  t.is(evaluationPoints(804, 10, "released").length, 11);
  t.deepEqual(evaluationPoints(234, 10, "released").slice(-2), [230, 234]);
});
