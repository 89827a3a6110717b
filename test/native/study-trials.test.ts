import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { RunConfig } from "#src/config/schema.js";
import { AbortedError, ConfigError, LockedError, StateError } from "#src/errors.js";
import { parseStudy } from "#src/study/file.js";
import { localExecutor } from "#src/study/local-executor.js";
import type { Trial } from "#src/study/plan.js";
import { planStudy, runPlanned } from "#src/study/run.js";
import { readStatus } from "#src/study/status.js";
import { TrialRunner, type TrialHooks } from "#src/study/trial-runner.js";
import { lockTrial, readFailure } from "#src/study/trial.js";
import type { RunEvent } from "#src/training/events.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { childrenOf, outcomes } from "../helpers/ticket-study.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

/** Two recipes with two seeds each, which share model and data. The files lie in `folder`. */
async function planned(
  t: ExecutionContext,
  changes: { base?: RunConfig; folder?: string; output?: string } = {},
): Promise<{ folder: string; output: string; trials: [Trial, Trial, Trial, Trial] }> {
  const { base = {}, folder = temporaryFolder(t) } = changes;
  const { output = join(folder, "out") } = changes;
  tinyModel(folder);
  for (const name of ["tickets.csv", "other.csv"]) writeFileSync(join(folder, name), readFileSync(ticketsFile));
  const study = parseStudy(
    {
      name: "tickets",
      base: {
        ...{ model: "./tiny-bert", data: "./tickets.csv", text: "body", label: "queue", maxLength: 32, batchSize: 16 },
        ...{ steps: 20, optimizer: { learningRate: 1e-3 }, ...base },
      },
      stages: [
        {
          name: "only",
          recipes: [{ name: "plain" }, { name: "reinit", methods: [{ name: "reinit", layers: 1 }] }],
          seeds: 2,
        },
      ],
    },
    { source: "study.json", folder },
  );
  const { manifest } = await planStudy(study, output);
  return { folder, output, trials: manifest.trials as [Trial, Trial, Trial, Trial] };
}

const hooks = (onEvent: TrialHooks["onEvent"] = () => {}): TrialHooks => ({
  signal: new AbortController().signal,
  onEvent,
});

test("neither the order of trials nor what ran before in the same process changes a bit", async (t) => {
  const one = await planned(t);
  {
    await using runner = new TrialRunner(one.output);
    for (const trial of one.trials) await runner.run(trial, hooks());
  }
  const each = await planned(t);
  for (const trial of each.trials.toReversed()) {
    await using runner = new TrialRunner(each.output);
    await runner.run(trial, hooks());
  }
  t.is(Object.keys(outcomes(one.output)).length, 4);
  t.deepEqual(outcomes(each.output), outcomes(one.output));
});

test("workers take the GPUs in turn, and each is shown its own alone", async (t) => {
  const { output, trials } = await planned(t);
  const shown = new Map<number, string | undefined>();
  await localExecutor({ count: 3, gpus: ["4", "GPU-8932f937"] })(trials.slice(0, 3), {
    folder: output,
    mayBegin: () => Promise.resolve(true),
    onEvent() {
      for (const pid of childrenOf(process.pid)) {
        const variables = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
        shown.set(
          pid,
          variables.find((variable) => variable.startsWith("CUDA_VISIBLE_DEVICES=")),
        );
      }
    },
  });
  const gpu = (name: string) => `CUDA_VISIBLE_DEVICES=${name}`;
  t.deepEqual([...shown.values()].sort(), [gpu("4"), gpu("4"), gpu("GPU-8932f937")]);
});

test("model and data are loaded once: further trials start from a copy in memory", async (t) => {
  const { folder, output, trials } = await planned(t);
  await using runner = new TrialRunner(output);
  const loads: string[] = [];
  const events = hooks((event) => event.type === "prepare" && loads.push(event.phase));
  await runner.run(trials[0], events);
  t.true(loads.includes("weights"));
  rmSync(join(folder, "tiny-bert"), { recursive: true });
  rmSync(join(folder, "tickets.csv"));
  loads.length = 0;
  for (const trial of trials.slice(1)) await runner.run(trial, events);
  t.deepEqual(loads, []);
  t.is(readdirSync(join(output, "trials")).length, 4);
});

test("an intermediate task that diverged makes its trials diverged, and is not trained again for each", async (t) => {
  const { output, trials } = await planned(t, {
    base: {
      transfer: {
        data: "./other.csv",
        text: "body",
        label: "queue",
        steps: 8,
        optimizer: { learningRate: 1e30, maxGradNorm: 0 },
      },
    },
  });
  await using runner = new TrialRunner(output);
  const stages: RunEvent[] = [];
  const events = hooks(
    (event) => event.type === "transfer" && event.event.type === "start" && stages.push(event.event),
  );
  for (const trial of trials) {
    const result = await runner.run(trial, events);
    t.like(result, { diverged: true, divergedAt: 0, degenerate: true, best: null, last: null, steps: 20, tokens: 0 });
    t.deepEqual(result.rows, { train: 112, validation: 24, test: 24 });
    t.is(await readFailure(output, trial), null);
  }
  t.is(stages.length, 1);
  t.like(await readStatus(output), { diverged: 4, failed: 0, waiting: 0, stages: [{ state: "diverged" }] });
  t.deepEqual(readdirSync(join(output, "trials", trials[0].id)).sort(), ["config.json", "log.jsonl", "result.json"]);
});

test("a half-trained trial goes on where its model and its data lie now", async (t) => {
  const whole = await planned(t);
  await using unbroken = new TrialRunner(whole.output);
  await unbroken.run(whole.trials[0], hooks());

  const { folder, output, trials } = await planned(t);
  const stop = new AbortController();
  {
    await using runner = new TrialRunner(output);
    const onEvent = (event: RunEvent): void => void (event.type === "evaluation" && event.step === 10 && stop.abort());
    await t.throwsAsync(runner.run(trials[0], { signal: stop.signal, onEvent }), { instanceOf: AbortedError });
  }
  t.true(existsSync(join(output, "work", trials[0].id, "state.bin")));
  t.is(await readFailure(output, trials[0]), null);
  const elsewhere = join(folder, "elsewhere");
  mkdirSync(elsewhere);
  for (const name of ["tiny-bert", "tickets.csv"]) renameSync(join(folder, name), join(elsewhere, name));
  const again = await planned(t, { folder: elsewhere, output });
  t.is(again.trials[0].id, trials[0].id);
  const resumed: RunEvent[] = [];
  await using runner = new TrialRunner(output);
  await runner.run(
    again.trials[0],
    hooks((event) => event.type === "resume" && resumed.push(event)),
  );
  t.is(resumed.length, 1);
  t.deepEqual(outcomes(output), outcomes(whole.output));
});

test("a trial that another process holds is neither run nor called failed; a finished one is read", async (t) => {
  const { output, trials } = await planned(t);
  await using runner = new TrialRunner(output);
  {
    await using _lock = await lockTrial(output, trials[0]);
    await t.throwsAsync(runner.run(trials[0], hooks()), { instanceOf: LockedError });
  }
  t.is(await readFailure(output, trials[0]), null);
  const result = await runner.run(trials[0], hooks());
  const events: RunEvent[] = [];
  t.deepEqual(
    await runner.run(
      trials[0],
      hooks((event) => events.push(event)),
    ),
    result,
  );
  t.deepEqual(events, []);
});

test("a trial that was planned with another version of the numerics is refused", async (t) => {
  const { output, trials } = await planned(t);
  const [trial] = trials;
  const old = { ...trial, fingerprint: { ...trial.fingerprint, numerics: trial.fingerprint.numerics - 1 } };
  await using runner = new TrialRunner(output);
  const error = await t.throwsAsync(runner.run(old, hooks()), { instanceOf: StateError });
  t.regex(error.message, /planned with version \d+ of the numerics, but this is \d+/);
  t.false(existsSync(join(output, "trials", trial.id)));
  t.is(await readFailure(output, trial), null, "the trial is not to blame");
  await runner.run(trial, hooks());
  const next = { ...trials[1], fingerprint: { ...trials[1].fingerprint, numerics: old.fingerprint.numerics } };
  await t.throwsAsync(runner.run(next, hooks()), { instanceOf: StateError }, "also where model and data are loaded");
});

test("a study of other numerics is refused as a whole, before any worker starts", async (t) => {
  const { output, trials } = await planned(t);
  const manifest = join(output, "manifest.jsonl");
  writeFileSync(manifest, readFileSync(manifest, "utf8").replaceAll(/"numerics":\d+/g, '"numerics":1'));
  await t.throwsAsync(runPlanned(output), {
    instanceOf: StateError,
    message: /planned with version 1 of the numerics/,
  });
  for (const trial of trials) t.is(await readFailure(output, trial), null);
});

test("a finished trial whose result was removed is trained again; one whose result is damaged is named", async (t) => {
  const { output, trials } = await planned(t);
  await using runner = new TrialRunner(output);
  const first = await runner.run(trials[0], hooks());
  const path = join(output, "trials", trials[0].id, "result.json");
  writeFileSync(path, '{"metric": "acc');
  await t.throwsAsync(readStatus(output), { instanceOf: StateError, message: /result\.json is damaged/ });
  rmSync(path);
  t.deepEqual((await runner.run(trials[0], hooks())).best, first.best);
  t.like(await readStatus(output), { done: 1, waiting: 3 });
});

test("a number of workers that is none is refused", async (t) => {
  const { output } = await planned(t);
  for (const workers of [0, -1, 1.5, NaN]) {
    await t.throwsAsync(runPlanned(output, { workers }), {
      instanceOf: ConfigError,
      message: /workers must be a whole/,
    });
  }
});
