import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { AbortedError, ConfigError, DivergedError, LockedError, StateError } from "#src/errors.js";
import { lockFolder } from "#src/files/lock.js";
import type { RunEvent } from "#src/training/events.js";
import type { ResolvedConfig, RunConfig } from "#src/config/schema.js";
import { freeze } from "#src/methods/freeze.js";
import { readSafetensors } from "#src/models/safetensors.js";
import { loadModel } from "#src/training/model.js";
import { finetune } from "#src/training/finetune.js";
import { prepare } from "#src/training/prepare-run.js";
import { preparedKey } from "#src/training/prepare.js";
import type { RunResult } from "#src/training/result.js";
import { train, type TrainOptions } from "#src/training/train.js";
import { withoutTimes } from "../helpers/run-log.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyConfig, tinyModel } from "../helpers/tiny-run.js";

function readLog(folder: string): Record<string, unknown>[] {
  const lines = readFileSync(join(folder, "log.jsonl"), "utf8").trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("a run learns the tickets, and its folder holds what the design promises", async (t) => {
  const config = tinyConfig(temporaryFolder(t), { steps: 120, optimizer: { learningRate: 3e-3 } });
  const result = await finetune(config).result;

  t.true((result.best?.validation["accuracy"] ?? 0) > result.majority.validation + 0.2);
  t.false(result.degenerate);
  t.false(result.diverged);
  t.is(result.steps, 120);
  t.deepEqual(result.seeds, { seed: 0, initSeed: 0, orderSeed: 0 });
  t.is(result.metric, "accuracy");
  t.true(result.seconds.total >= result.seconds.train + result.seconds.evaluate);
  t.true(result.peakMemoryBytes > 0);
  const [low, high] = result.best?.intervals.test ?? [NaN, NaN];
  const accuracy = result.best?.test["accuracy"] ?? NaN;
  t.true(low <= accuracy && accuracy <= high && low < high);

  t.deepEqual(JSON.parse(readFileSync(join(config.output, "result.json"), "utf8")), result);
  t.deepEqual(JSON.parse(readFileSync(join(config.output, "config.json"), "utf8")), config);
  t.true(existsSync(join(config.output, "best/model.safetensors")));
  t.false(existsSync(join(config.output, "state.bin")), "a finished run needs no state");

  const log = readLog(config.output);
  t.is(log.filter(({ type }) => type === "step").length, 120);
  const evaluations = log.filter(({ type }) => type === "evaluation");
  t.is(evaluations.length, 10);
  t.is(evaluations.at(-1)?.["step"], 120);
  const best = evaluations.find(({ step }) => step === result.best?.step);
  t.deepEqual(best?.["validation"], result.best?.validation, "the restored best checkpoint scores as it did");

  const predictions = readFileSync(join(config.output, "predictions.jsonl"), "utf8").trimEnd().split("\n");
  t.is(predictions.length, result.rows.validation + result.rows.test);
});

test("events come in order to callback and iterator alike", async (t) => {
  const config = tinyConfig(temporaryFolder(t), { steps: 4 });
  const heard: RunEvent[] = [];
  const seen: RunEvent[] = [];
  const run = finetune(config, { onEvent: (event) => heard.push(event) });
  for await (const event of run) seen.push(event);
  t.deepEqual(seen, heard);
  t.deepEqual(
    seen.filter(({ type }) => type !== "prepare" && type !== "note" && type !== "state").map(({ type }) => type),
    ["start", ...Array.from({ length: 4 }, () => ["step", "evaluation"]).flat(), "end"],
  );
});

test("the same config gives the same bits, another seed gives others", async (t) => {
  const folder = temporaryFolder(t);
  const losses: unknown[] = [];
  for (const [name, seed] of [
    ["a", 0],
    ["b", 0],
    ["c", 1],
  ] as const) {
    const config = tinyConfig(folder, { output: join(folder, name), steps: 6, seed, keep: "none" });
    await finetune(config).result;
    losses.push(
      readLog(config.output)
        .filter(({ type }) => type === "step")
        .map(({ loss }) => loss),
    );
  }
  t.deepEqual(losses[0], losses[1]);
  t.notDeepEqual(losses[0], losses[2]);
});

test("trials on one Prepared equal runs of their own, bit for bit", async (t) => {
  const folder = temporaryFolder(t);
  const trial = (name: string, seed: number) =>
    tinyConfig(folder, {
      output: join(folder, name),
      steps: 6,
      seed,
      keep: "none",
      methods: [{ name: "reinit", layers: 1 }],
    });
  const scores = ({ best, last }: RunResult) => ({ best, last });

  const alone = await finetune(trial("alone", 3)).result;
  await using prepared = await prepare(trial("first", 1));
  t.is(prepared.key, preparedKey(trial("second", 3)));
  t.not(prepared.key, preparedKey({ ...trial("second", 3), maxLength: 16 }));
  const foreign = { ...trial("foreign", 1), maxLength: 16 };
  await t.throwsAsync(train(prepared, foreign, join(folder, "foreign")), { instanceOf: ConfigError });
  await train(prepared, trial("first", 1), join(folder, "first"));
  const second = await train(prepared, trial("second", 3), join(folder, "second"));
  t.deepEqual(scores(second), scores(alone));
});

test("accumulation changes memory, not the result", async (t) => {
  const folder = temporaryFolder(t);
  const losses: number[][] = [];
  for (const accumulation of [1, 3]) {
    const config = tinyConfig(folder, {
      output: join(folder, `${accumulation}`),
      steps: 5,
      accumulation,
      keep: "none",
    });
    await finetune(config).result;
    losses.push(
      readLog(config.output)
        .filter(({ type }) => type === "step")
        .map(({ loss }) => loss as number),
    );
  }
  losses[0]?.forEach((loss, step) => t.true(Math.abs(loss - (losses[1]?.[step] ?? NaN)) < 1e-4 * loss, `step ${step}`));
});

test("the released protocol evaluates eleven times", async (t) => {
  const config = tinyConfig(temporaryFolder(t), { protocol: "released", keep: "none" });
  await finetune(config).result;
  const evaluations = readLog(config.output).filter(({ type }) => type === "evaluation");
  t.deepEqual(
    evaluations.map(({ step }) => step),
    [3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 32],
  );
});

test("keep none leaves scores and predictions, and no weights", async (t) => {
  const config = tinyConfig(temporaryFolder(t), { steps: 2, keep: "none" });
  await finetune(config).result;
  t.false(existsSync(join(config.output, "best")));
  t.true(existsSync(join(config.output, "predictions.jsonl")));
});

test("evaluateOn full scores all held-out rows once, under both names", async (t) => {
  const config = tinyConfig(temporaryFolder(t), { steps: 2, evaluateOn: "full", keep: "none" });
  const { best, rows } = await finetune(config).result;
  t.is(rows.validation, rows.test);
  t.deepEqual(best?.validation, best?.test);
});

test("a run that diverges ends with its first bad step, its record and DivergedError", async (t) => {
  const config = tinyConfig(temporaryFolder(t), {
    steps: 8,
    optimizer: { learningRate: 1e30, warmup: 0, maxGradNorm: 0 },
  });
  const error = await t.throwsAsync(finetune(config).result, { instanceOf: DivergedError });
  const result = JSON.parse(readFileSync(join(config.output, "result.json"), "utf8")) as RunResult;
  t.true(result.diverged);
  t.is(result.divergedAt, error?.step);
  t.is(result.last, null);
  t.deepEqual(readLog(config.output).at(-1)?.["type"], "diverged");

  await using prepared = await prepare(config);
  const trial = await train(prepared, config, join(config.output, "../trial"));
  t.true(trial.diverged, "in a study a diverged trial is a result, not an error");
});

test("steps that run behind a diverged one change nothing of the record", async (t) => {
  const folder = temporaryFolder(t);
  // Evaluated after steps 5, 10, ...: step 6 is the first behind a best checkpoint, with two more steps in flight.
  const diverging = { steps: 20, evaluations: 4, optimizer: { learningRate: 3e-3, warmup: 0 } };
  const record = async (name: string, trainOnPastIt: boolean) => {
    const config = tinyConfig(folder, { output: join(folder, name), ...diverging });
    await using prepared = await prepare(config);
    const step = prepared.session.train.bind(prepared.session);
    let behind = 0;
    prepared.session.train = async (parts, options) => {
      if (options.step > 6) behind++;
      if (options.step < 6 || trainOnPastIt) {
        const result = await step(parts, options);
        return options.step === 6 ? { ...result, loss: NaN, finite: false } : result;
      }
      return { loss: NaN, gradNorm: NaN, finite: false };
    };
    const { best, last, divergedAt, tokens, degenerate } = await train(prepared, config, config.output);
    const weights = readFileSync(join(config.output, "best/model.safetensors"));
    const predictions = readFileSync(join(config.output, "predictions.jsonl"), "utf8");
    const log = withoutTimes(config.output);
    return { behind, kept: { best, last, divergedAt, tokens, degenerate, weights, predictions, log } };
  };
  const [moved, stopped] = [await record("moved", true), await record("stopped", false)];
  t.true(moved.behind > 0, "steps were submitted behind the diverged one");
  t.is(moved.kept.divergedAt, 6);
  t.is(moved.kept.best?.step, 5);
  t.deepEqual(moved.kept, stopped.kept);
});

/** Stops the run and leaves it with the state of its first evaluation, as a kill a step later would. */
async function stopAtFirstEvaluation(
  t: ExecutionContext,
  config: ResolvedConfig,
  options: TrainOptions = {},
): Promise<void> {
  const stop = new AbortController();
  const state = join(config.output, "state.bin");
  const onEvent = (event: RunEvent) => {
    if (event.type !== "state" || stop.signal.aborted) return;
    t.is(event.step, 5);
    copyFileSync(state, `${state}.first`);
    stop.abort();
  };
  await t.throwsAsync(finetune(config, { ...options, signal: stop.signal, onEvent }).result, {
    instanceOf: AbortedError,
  });
  renameSync(`${state}.first`, state);
}

test("a best checkpoint that is the one of the saved step is there again after resume", async (t) => {
  const folder = temporaryFolder(t);
  // So slow that no score changes: of equal ones the first stays best, and its weights differ from all later ones.
  const slow = { steps: 20, evaluations: 4, optimizer: { learningRate: 1e-7, warmup: 0 } };
  const unbroken = tinyConfig(folder, { ...slow, output: join(folder, "unbroken") });
  const broken = tinyConfig(folder, { ...slow, output: join(folder, "broken"), resume: true });
  const expected = await finetune(unbroken).result;
  t.is(expected.best?.step, 5);
  await stopAtFirstEvaluation(t, broken);
  const { best, last } = await finetune(broken).result;
  t.deepEqual([best, last], [expected.best, expected.last]);
  const weights = (output: string) => readFileSync(join(output, "best/model.safetensors"));
  t.true(weights(broken.output).equals(weights(unbroken.output)));
});

test("a state is refused where data or methods have changed since it was saved", async (t) => {
  const folder = temporaryFolder(t);
  const data = join(folder, "tickets.csv");
  copyFileSync(ticketsFile, data);
  const config = tinyConfig(folder, { data, steps: 20, evaluations: 4, resume: true });
  const frozen = { methods: [freeze(["embedding"])] };
  await stopAtFirstEvaluation(t, config, frozen);
  await t.throwsAsync(finetune(config).result, {
    instanceOf: StateError,
    message: /belongs to a run with other methods/,
  });
  appendFileSync(data, "one more parcel is lost,delivery\n");
  await t.throwsAsync(finetune(config, frozen).result, {
    instanceOf: StateError,
    message: /belongs to a run with other data/,
  });
});

test("a folder that belongs to another config is refused by the key that differs", async (t) => {
  const config = tinyConfig(temporaryFolder(t), { steps: 2, keep: "none" });
  await finetune(config).result;
  const other = { ...config, optimizer: { ...config.optimizer, learningRate: 5e-5 } };
  await t.throwsAsync(finetune(other).result, {
    instanceOf: ConfigError,
    message: /optimizer\.learningRate is 0\.001 there and 0\.00005 here/,
  });
});

test("two runs on one folder: the second is refused", async (t) => {
  const config = tinyConfig(temporaryFolder(t), { steps: 2 });
  await using _lock = await lockFolder(config.output);
  await t.throwsAsync(finetune(config).result, { instanceOf: LockedError });
});

test("a finished run with resume is returned as it stands", async (t) => {
  const config = tinyConfig(temporaryFolder(t), { steps: 2, keep: "none" });
  const first = await finetune(config).result;
  const again = await finetune({ ...config, resume: true }).result;
  t.deepEqual(again, first);
});

test("a finished run is not done over by the same command: it is refused, and nothing of it is touched", async (t) => {
  const config = tinyConfig(temporaryFolder(t), { steps: 2 });
  await finetune(config).result;
  const files = () =>
    readdirSync(config.output, { recursive: true }).map((name) => [
      name,
      statSync(join(config.output, String(name))).mtimeMs,
    ]);
  const before = files();
  const error = await t.throwsAsync(finetune(config).result, {
    instanceOf: ConfigError,
    message: /a finished run of this config/,
  });
  t.regex(error.hint ?? "", /--resume shows its result/);
  t.deepEqual(files(), before);
});

test("a run that fails before it begins leaves no folder, and does not take away one that was there", async (t) => {
  const folder = temporaryFolder(t);
  const config = tinyConfig(folder, { text: "boddy" });
  await t.throwsAsync(finetune(config).result, { message: /boddy/ });
  t.false(existsSync(config.output));
  mkdirSync(config.output);
  await t.throwsAsync(finetune(config).result, { message: /boddy/ });
  t.deepEqual(readdirSync(config.output), []);
});

test("a run is finished only after the last state is on the disk, however slow that is, and then without it", async (t) => {
  // Only an evaluation asks for a state, and there is one: its state is still being written when all else is done.
  const config = tinyConfig(temporaryFolder(t), { steps: 2, evaluations: 1, stateEvery: 3600 });
  await using prepared = await prepare(config);
  const slow = new Proxy(prepared.session, {
    get(session, name) {
      if (name === "readBuffer") {
        return async (...args: Parameters<typeof session.readBuffer>) => {
          const values = await session.readBuffer(...args);
          await sleep(1000);
          return values;
        };
      }
      const value: unknown = Reflect.get(session, name, session);
      return typeof value === "function" ? (value.bind(session) as unknown) : value;
    },
  });
  const events: string[] = [];
  const onEvent = ({ type }: RunEvent): void => void events.push(type);
  await train({ ...prepared, session: slow }, config, config.output, { onEvent });
  t.deepEqual(events.slice(-2), ["state", "end"]);
  t.true(existsSync(join(config.output, "result.json")));
  t.false(existsSync(join(config.output, "state.bin")));
});

test("scores are learned by regression, and the best checkpoint is chosen by Spearman's correlation", async (t) => {
  const folder = temporaryFolder(t);
  const data = join(folder, "urgency.csv");
  const rows = Array.from({ length: 120 }, (_, i) => {
    const urgent = i % 4;
    return `${"late ".repeat(urgent)}my order was ${"again ".repeat(3 - urgent)},${urgent + 0.5}`;
  });
  writeFileSync(data, `body,score\n${rows.join("\n")}\n`);
  const config = tinyConfig(folder, { data, label: "score", steps: 80, optimizer: { learningRate: 1e-2 } });
  const { best, metric, selectedBy, majority } = await finetune(config).result;
  t.deepEqual([metric, selectedBy, majority.test], ["spearman", "spearman", 0]);
  t.true((best?.test["spearman"] ?? 0) > 0.8);

  await using model = await loadModel(join(config.output, "best"), { threads: 1 });
  const [calm, urgent] = await model.predict(["my order was again again again", "late late late my order was"]);
  t.true(calm && urgent && "score" in calm && "score" in urgent && calm.score < urgent.score);
});

test("frozen parameters come out as they went in, and a random start does not need the checkpoint's", async (t) => {
  const folder = temporaryFolder(t);
  const word = "bert.embeddings.word_embeddings.weight";
  const saved = async (name: string, changes: RunConfig) => {
    const config = tinyConfig(folder, { output: join(folder, name), steps: 4, ...changes });
    await finetune(config).result;
    return Buffer.from(
      (await readSafetensors(join(config.output, "best/model.safetensors"))).tensors.get(word)?.data ?? [],
    );
  };
  const { tensors } = await readSafetensors(join(tinyModel(folder), "model.safetensors"));
  const before = Buffer.from(tensors.get(word)?.data ?? []);
  t.true(before.equals(await saved("frozen", { methods: [{ name: "freeze", roles: ["embedding"] }] })));
  t.false(before.equals(await saved("trained", {})));
  const random = await saved("random", { init: "random", steps: 1 });
  const values = new Float32Array(random.buffer, random.byteOffset, random.length / 4);
  const std = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
  t.true(Math.abs(std - 0.02) < 0.001, `${std}`);
});

test("a maxLength beyond the model's positions is refused before any work", async (t) => {
  const config = tinyConfig(temporaryFolder(t), { maxLength: 65 });
  await t.throwsAsync(finetune(config).result, { instanceOf: ConfigError, message: /64 positions/ });
});
