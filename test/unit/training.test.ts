import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { resolveConfig } from "#src/config/resolve.js";
import { ConfigError } from "#src/errors.js";
import { composePlan } from "#src/methods/plan.js";
import { methodFromConfig } from "#src/methods/from-config.js";
import { isBetter } from "#src/training/best.js";
import { StepBatches } from "#src/training/batches.js";
import { RunClock } from "#src/training/clock.js";
import type { EncodedSplit } from "#src/data/encoded.js";
import type { RunEvent } from "#src/training/events.js";
import { configHash, firstDifference } from "#src/training/identity.js";
import { predictionsOf } from "#src/training/predictions.js";
import type { RunResult, Versions } from "#src/training/result.js";
import { openRunFolder } from "#src/training/run-folder.js";
import { runStream } from "#src/training/run-stream.js";
import { environmentChanges } from "#src/training/state.js";
import { bertParameters } from "../helpers/bert-parameters.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const config = resolveConfig({ model: "m", data: "d.csv", output: "o" });

test("a run's identity is what decides its outcome, in any order of keys", (t) => {
  const shuffled = Object.fromEntries(Object.entries(config).reverse());
  t.is(configHash(shuffled), configHash(config));
  t.is(
    configHash({ ...config, output: "elsewhere", resume: true, threads: 3, stateEvery: 5, keep: "none" }),
    configHash(config),
  );
  t.not(configHash({ ...config, seed: 1 }), configHash(config));
});

test("the first difference is named by its dotted key", (t) => {
  const optimizer = { ...config.optimizer, eps: 1e-6 };
  t.deepEqual(firstDifference(config, { ...config, optimizer }), { key: "optimizer.eps", before: 1e-8, after: 1e-6 });
  const methods = [{ name: "reinit", layers: 5 }];
  t.is(firstDifference({ methods }, { methods: [{ name: "reinit", layers: 6 }] })?.key, "methods.0.layers");
  t.is(firstDifference({ methods }, { methods: [] })?.key, "methods.0");
  t.is(firstDifference({ text: undefined }, {}), null);
  t.is(firstDifference({ steps: 5 }, { epochs: 3 })?.key, "epochs");
});

test("strictly better wins, so the first of equals stays", (t) => {
  const best = { step: 1, validation: { accuracy: 0.7 } };
  t.true(isBetter("accuracy", { accuracy: 0.71 }, best));
  t.false(isBetter("accuracy", { accuracy: 0.7 }, best));
  t.false(isBetter("accuracy", { accuracy: NaN }, best));
  t.true(isBetter("accuracy", { accuracy: NaN }, null), "every run has a best");
  t.true(isBetter("accuracy", { accuracy: 0 }, { step: 1, validation: { accuracy: NaN } }));
});

const split: EncodedSplit = {
  tokenIds: Int32Array.from({ length: 20 }, (_, i) => i),
  segmentIds: new Int32Array(20),
  rowOffsets: Int32Array.from({ length: 11 }, (_, i) => 2 * i),
  rowNumbers: Int32Array.from({ length: 10 }, (_, i) => 100 + i),
  labels: new Int32Array(10),
};

test("every row is seen once per epoch, in another order each, whatever the accumulation", (t) => {
  const epochs = (accumulation: number): number[][] => {
    const batches = new StepBatches(split, { batchSize: 4, accumulation, orderSeed: 3 });
    t.is(batches.stepsPerEpoch, 3);
    return [0, 1].map((epoch) =>
      [1, 2, 3].flatMap((step) => batches.parts(3 * epoch + step).flatMap(({ rowNumbers }) => [...rowNumbers])),
    );
  };
  const [first = [], second = []] = epochs(1);
  t.deepEqual([...first].sort(), [...split.rowNumbers]);
  t.deepEqual([...second].sort(), [...split.rowNumbers]);
  t.notDeepEqual(first, second);
  for (const accumulation of [2, 3, 4]) t.deepEqual(epochs(accumulation), [first, second]);
});

test("a batch is cut into parts of nearly equal size, never an empty one", (t) => {
  const batches = new StepBatches(split, { batchSize: 4, accumulation: 3, orderSeed: 0 });
  t.deepEqual(
    batches.parts(1).map(({ rowNumbers }) => rowNumbers.length),
    [2, 2],
  );
  t.deepEqual(
    batches.parts(3).map(({ rowNumbers }) => rowNumbers.length),
    [1, 1],
  );
});

test("the rows of a step do not depend on the steps asked for before", (t) => {
  const options = { batchSize: 4, accumulation: 1, orderSeed: 3 };
  const inOrder = new StepBatches(split, options);
  for (let step = 1; step < 8; step++) inOrder.parts(step);
  t.deepEqual(new StepBatches(split, options).parts(8), inOrder.parts(8));
  t.is(inOrder.epochOf(3), 0);
  t.is(inOrder.epochOf(4), 1);
});

test("the order of rows follows the order seed", (t) => {
  const order = (orderSeed: number) => {
    const batches = new StepBatches(split, { batchSize: 10, accumulation: 1, orderSeed });
    return batches.parts(1).flatMap(({ rowNumbers }) => [...rowNumbers]);
  };
  t.deepEqual(order(7), order(7));
  t.notDeepEqual(order(7), order(8));
});

test("a clock that goes on adds to the seconds of the run's earlier life", (t) => {
  const clock = new RunClock({ train: 100, evaluate: 10, finish: 0 });
  clock.enter("evaluate");
  const { train, evaluate, total } = clock.seconds;
  t.true(train >= 100 && train < 101 && evaluate >= 10 && evaluate < 11);
  t.true(Math.abs(total - train - evaluate) < 1e-9);
});

test("predictions are probabilities by class name, or the score itself", (t) => {
  const task = { problem: "classification" as const, labels: ["no", "yes"] };
  const [first, second] = predictionsOf(task, Float32Array.of(0, Math.log(3), 1000, 0));
  t.deepEqual(first && "label" in first && [first.label, first.probabilities["yes"]?.toFixed(6)], ["yes", "0.750000"]);
  t.deepEqual(second, { label: "no", probabilities: { no: 1, yes: 0 } });
  t.deepEqual(predictionsOf({ problem: "regression", labels: [] }, Float32Array.of(2.5)), [{ score: 2.5 }]);
});

test("under the released protocol weight decay does nothing and the pull to the start is scaled by the rate", (t) => {
  const parameters = bertParameters(1);
  const plan = (protocol: "paper" | "released", name: "weight-decay" | "pretrained-weight-decay") =>
    composePlan(parameters, [methodFromConfig({ name, lambda: 0.1 }, { protocol, std: 0.02 })])[0];
  t.is(plan("paper", "weight-decay")?.weightDecay, 0.1);
  t.is(plan("released", "weight-decay")?.weightDecay, 0);
  t.false(plan("paper", "pretrained-weight-decay")?.decayScaledByLr);
  t.true(plan("released", "pretrained-weight-decay")?.decayScaledByLr);
});

test("under the released protocol mixout masks columns and leaves 1 / (1 - p) out, unless the entry says otherwise", (t) => {
  const parameters = bertParameters(1);
  const mixing = (protocol: "paper" | "released", changes: object = {}) =>
    composePlan(parameters, [methodFromConfig({ name: "mixout", p: 0.1, ...changes }, { protocol, std: 0.02 })]).at(-2)
      ?.mixout;
  t.deepEqual(mixing("paper"), { p: 0.1, mask: "element", gradient: "exact" });
  t.deepEqual(mixing("released"), { p: 0.1, mask: "column", gradient: "released" });
  t.deepEqual(mixing("released", { gradient: "exact" }), { p: 0.1, mask: "column", gradient: "exact" });
});

test("what changed between two lives of a run is said in words", (t) => {
  const now = { threads: 2, instructionSet: "avx2", device: "cpu", torch: "2.15.0", numerics: 1 } as Versions;
  t.deepEqual(environmentChanges(now, { ...now, node: "22.0.0" }), []);
  t.deepEqual(environmentChanges(now, { ...now, threads: 4, torch: "2.14.0" }), [
    "number of threads (2 then, 4 now)",
    "version of libtorch (2.15.0 then, 2.14.0 now)",
  ]);
});

test("a folder with results but no config is not taken over", async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "best"));
  await t.throwsAsync(openRunFolder(folder, config), {
    instanceOf: ConfigError,
    message: /no config\.json but holds .*best/,
  });
});

test("a run folder is locked while it is open, and free after a refusal", async (t) => {
  const folder = temporaryFolder(t);
  const lock = join(folder, ".lock");
  {
    await using place = await openRunFolder(folder, config);
    await place.begin();
    t.true(existsSync(lock));
  }
  t.false(existsSync(lock));
  await t.throwsAsync(openRunFolder(folder, { ...config, seed: 9 }), {
    instanceOf: ConfigError,
    message: /seed is 0 there and 9 here/,
  });
  t.false(existsSync(lock));
  writeFileSync(join(folder, "state.bin"), "");
  await t.throwsAsync(openRunFolder(folder, config), { instanceOf: ConfigError, message: /unfinished run/ });
  await using place = await openRunFolder(folder, { ...config, resume: true });
  t.is(place.finished, null);
});

const note = (message: string): RunEvent => ({ type: "note", message });
const done = { steps: 1 } as RunResult;

test("a stream gives every event in order, then ends with the run", async (t) => {
  const run = runStream(async ({ onEvent }) => {
    onEvent(note("a"));
    await new Promise((resolve) => setTimeout(resolve, 5));
    onEvent(note("b"));
    onEvent(note("c"));
    return done;
  }, {});
  const seen: RunEvent[] = [];
  for await (const event of run) seen.push(event);
  t.deepEqual(seen, ["a", "b", "c"].map(note));
  t.is(await run.result, done);
});

test("a run that fails rejects its result and ends the iteration with the same error", async (t) => {
  const error = new ConfigError("no");
  const run = runStream(() => Promise.reject(error), {});
  await t.throwsAsync(
    (async () => {
      for await (const _ of run) t.fail("there was no event");
    })(),
    { is: error },
  );
  await t.throwsAsync(run.result, { is: error });
});

test("leaving the iteration fires the run's signal and waits for it to end", async (t) => {
  let ended = false;
  const run = runStream(async ({ signal, onEvent }) => {
    onEvent(note("under way"));
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    ended = true;
    return done;
  }, {});
  for await (const _ of run) break;
  t.true(ended);
});

test("the caller's signal reaches the run", async (t) => {
  const stop = new AbortController();
  const run = runStream(
    ({ signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve(done))),
    {
      signal: stop.signal,
    },
  );
  setTimeout(() => stop.abort(), 5);
  t.is(await run.result, done);
});
