import { readFileSync } from "node:fs";
import test from "ava";
import { biasRatio } from "#src/training/bias-ratio.js";
import { longerGrid } from "#src/training/longer.js";
import { goldenCheckpoint } from "../helpers/checkpoint.js";

test("the grid for training longer skips what is shorter than three epochs (App. H)", (t) => {
  t.deepEqual(longerGrid(234), [400, 800, 1600, 3200], "RTE");
  t.deepEqual(longerGrid(345), [400, 800, 1600, 3200], "MRPC");
  t.deepEqual(longerGrid(540), [800, 1600, 3200], "STS-B");
  t.deepEqual(longerGrid(804), [1600, 3200], "CoLA");
  t.deepEqual(longerGrid(96), [200, 400, 800, 1600, 3200], "a 1k task");
  t.deepEqual(longerGrid(36816), [], "MNLI");
});

test("the ratio of the uncorrected to the corrected update is Figure 1's", (t) => {
  const { betas, bias_ratio: reference } = JSON.parse(readFileSync(goldenCheckpoint("adamw.json"), "utf8")) as {
    betas: [number, number];
    bias_ratio: Record<string, number>;
  };
  t.true(Object.keys(reference).length > 5);
  for (const [step, ratio] of Object.entries(reference)) {
    const ours = biasRatio(Number(step), betas);
    t.true(Math.abs(ours - ratio) <= 1e-9 * ratio, `step ${step}: ${ours}`);
  }
  const steps = Array.from({ length: 100 }, (_, i) => biasRatio(i + 1, betas));
  t.is(steps.indexOf(Math.max(...steps)) + 1, 12);
});
