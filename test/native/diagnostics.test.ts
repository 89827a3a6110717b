import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { RunConfig } from "#src/config/schema.js";
import { AbortedError } from "#src/errors.js";
import { biasRatio } from "#src/training/bias-ratio.js";
import type { RunEvent } from "#src/training/events.js";
import { finetune } from "#src/training/finetune.js";
import { prepare } from "#src/training/prepare-run.js";
import { train } from "#src/training/train.js";
import { withoutTimes } from "../helpers/run-log.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { tinyConfig } from "../helpers/tiny-run.js";

type Diagnostics = Extract<RunEvent, { type: "diagnostics" }>;
type Step = Extract<RunEvent, { type: "step" }>;

function logOf(folder: string): RunEvent[] {
  const lines = readFileSync(join(folder, "log.jsonl"), "utf8").trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as RunEvent);
}

const settings: RunConfig = {
  steps: 25,
  diagnosticsEvery: 10,
  keep: "none",
  optimizer: { learningRate: 1e-3, maxGradNorm: 0.25 },
  methods: [{ name: "reinit", layers: 1 }],
};

test("every n steps and at the last: the window's mean loss and clipped share, the step's norm and bias ratio", async (t) => {
  const config = tinyConfig(temporaryFolder(t), settings);
  await finetune(config).result;
  const log = logOf(config.output);
  const steps = log.filter((event): event is Step => event.type === "step");
  const found = log.filter((event): event is Diagnostics => event.type === "diagnostics");
  t.deepEqual(
    found.map(({ step }) => step),
    [10, 20, 25],
  );
  let from = 0;
  for (const { step, loss, gradNorm, clippedShare, biasRatio: ratio } of found) {
    const window = steps.slice(from, step);
    t.is(loss, window.reduce((sum, one) => sum + one.loss, 0) / window.length);
    t.is(clippedShare, window.filter((one) => one.gradNorm > 0.25).length / window.length);
    t.is(gradNorm, steps[step - 1]?.gradNorm ?? NaN);
    t.is(ratio, biasRatio(step, [0.9, 0.999]));
    from = step;
  }
  t.true(
    found.some(({ clippedShare }) => clippedShare > 0 && clippedShare < 1),
    "the norm of this test tells apart",
  );
});

test("the distance of each block is that of its parameters to their values at the start, re-initialised ones too", async (t) => {
  const folder = temporaryFolder(t);
  const config = tinyConfig(folder, settings);
  await using prepared = await prepare(config);
  const { session } = prepared;
  await train(prepared, config, config.output);
  const last = logOf(config.output)
    .filter((event): event is Diagnostics => event.type === "diagnostics")
    .at(-1);
  // finish() leaves the best checkpoint in the session, so the last one is trained again without its evaluations.
  const once = tinyConfig(folder, { ...settings, output: join(folder, "once"), evaluations: 1 });
  await train(prepared, once, once.output);
  const [now, start] = [await session.readBuffer("parameters"), await session.readBuffer("start")];
  t.is(start.length, now.length);
  const names = ["embeddings", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "pooler", "classifier"];
  t.deepEqual(Object.keys(last?.distances ?? {}), names);
  const total = Math.sqrt(now.reduce((sum, value, i) => sum + (value - (start[i] ?? NaN)) ** 2, 0));
  const together = Math.hypot(...Object.values(last?.distances ?? {}));
  t.true(total > 0 && Math.abs(total - together) < 1e-5 * total, `${total} ${together}`);
});

test("diagnostics change no bit of the run", async (t) => {
  const folder = temporaryFolder(t);
  const without = tinyConfig(folder, { ...settings, diagnosticsEvery: undefined, output: join(folder, "without") });
  const watched = tinyConfig(folder, { ...settings, output: join(folder, "with") });
  const plain = await finetune(without).result;
  const seen = await finetune(watched).result;
  t.deepEqual([seen.best, seen.last], [plain.best, plain.last]);
  const steps = withoutTimes(watched.output).filter(({ type }) => type !== "diagnostics");
  t.deepEqual(steps, withoutTimes(without.output));
});

test("a run that is stopped inside a window goes on with the window's sums", async (t) => {
  const folder = temporaryFolder(t);
  const unbroken = tinyConfig(folder, { ...settings, output: join(folder, "unbroken") });
  await finetune(unbroken).result;
  for (const stopAt of [3, 10, 13, 20, 24]) {
    const config = tinyConfig(folder, { ...settings, output: join(folder, `stopped-${stopAt}`) });
    const stop = new AbortController();
    const run = finetune(config, {
      signal: stop.signal,
      onEvent: (event) => event.type === "step" && event.step === stopAt && stop.abort(),
    });
    await t.throwsAsync(run.result, { instanceOf: AbortedError });
    await finetune({ ...config, resume: true }).result;
    t.deepEqual(withoutTimes(config.output), withoutTimes(unbroken.output), `stopped at ${stopAt}`);
  }
});
