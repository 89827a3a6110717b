import { appendFileSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { AbortedError, ConfigError, OutputError, StateError } from "#src/errors.js";
import { finetune } from "#src/training/finetune.js";
import { withoutTimes } from "../helpers/run-log.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyConfig } from "../helpers/tiny-run.js";

test("an aborted run saves its state, and its resumption ends like the unbroken run", async (t) => {
  const folder = temporaryFolder(t);
  const unbroken = tinyConfig(folder, { output: join(folder, "unbroken") });
  const expected = await finetune(unbroken).result;

  const config = tinyConfig(folder, { output: join(folder, "broken") });
  const stop = new AbortController();
  const run = finetune(config, {
    signal: stop.signal,
    onEvent: (event) => event.type === "step" && event.step === 13 && stop.abort(),
  });
  await t.throwsAsync(run.result, { instanceOf: AbortedError });
  t.true(existsSync(join(config.output, "state.bin")));
  t.false(existsSync(join(config.output, "result.json")));

  await t.throwsAsync(finetune(config).result, { instanceOf: ConfigError, message: /unfinished run/ });
  const events: string[] = [];
  const resumed = await finetune({ ...config, resume: true }, { onEvent: ({ type }) => events.push(type) }).result;
  t.true(events.includes("resume"));
  t.deepEqual(
    { best: resumed.best, last: resumed.last, tokens: resumed.tokens },
    {
      best: expected.best,
      last: expected.last,
      tokens: expected.tokens,
    },
  );
  t.deepEqual(withoutTimes(config.output), withoutTimes(unbroken.output));
});

test("leaving the event loop early stops the run and saves its state", async (t) => {
  const config = tinyConfig(temporaryFolder(t));
  const run = finetune(config);
  for await (const event of run) if (event.type === "step" && event.step === 5) break;
  t.true(existsSync(join(config.output, "state.bin")));
  await t.throwsAsync(run.result, { instanceOf: AbortedError });
});

test("a run under `await using` is stopped and has let go of its folder at the end of the block", async (t) => {
  const config = tinyConfig(temporaryFolder(t));
  {
    await using run = finetune(config);
    run.result.catch(() => {});
  }
  t.false(existsSync(join(config.output, ".lock")));
});

test("a signal that fired before the start stops before any work", async (t) => {
  const config = tinyConfig(temporaryFolder(t));
  await t.throwsAsync(finetune(config, { signal: AbortSignal.abort() }).result, { instanceOf: AbortedError });
});

test("a state whose data changed since is refused", async (t) => {
  const folder = temporaryFolder(t);
  const data = join(folder, "tickets.csv");
  copyFileSync(ticketsFile, data);
  const config = tinyConfig(folder, { data });
  const run = finetune(config);
  for await (const event of run) if (event.type === "step" && event.step === 5) break;

  appendFileSync(data, "where is my parcel,delivery\n");
  await t.throwsAsync(finetune({ ...config, resume: true }).result, { instanceOf: StateError, message: /other data/ });
});

test("a torn state file is refused, and the run can start again without it", async (t) => {
  const config = tinyConfig(temporaryFolder(t));
  const run = finetune(config);
  for await (const event of run) if (event.type === "step" && event.step === 5) break;
  const path = join(config.output, "state.bin");
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.subarray(0, bytes.length - 1000));
  await t.throwsAsync(finetune({ ...config, resume: true }).result, {
    instanceOf: StateError,
    message: /state\.bin.*bytes/,
  });
});

test("a state that cannot be written ends the run with an OutputError that names it", async (t) => {
  const config = tinyConfig(temporaryFolder(t));
  const inTheWay = join(config.output, "state.bin");
  const run = finetune(config, { onEvent: (event) => event.type === "start" && mkdirSync(inTheWay) });
  const error = await t.throwsAsync(run.result, { instanceOf: OutputError });
  t.true(error?.message.includes(inTheWay));
  t.false(existsSync(join(config.output, "result.json")));
});
