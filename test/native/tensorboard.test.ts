import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { AbortedError } from "#src/errors.js";
import type { RunConfig } from "#src/config/schema.js";
import { crc32c } from "#src/training/crc32c.js";
import type { RunEvent } from "#src/training/events.js";
import { finetune } from "#src/training/finetune.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { tinyConfig } from "../helpers/tiny-run.js";

const reader = fileURLToPath(new URL("../../test/tensorboard/read_events.py", import.meta.url));

type Scalars = Record<string, [step: number, value: number, wallTime: number][]>;

/** What TensorBoard's own reader finds; null without a Python that has it. */
function readEvents(t: ExecutionContext, folder: string): Scalars | null {
  const python = process.env["STEADYTUNE_TENSORBOARD_PYTHON"];
  if (!python) {
    t.log(
      "skipped: STEADYTUNE_TENSORBOARD_PYTHON names no Python with TensorBoard (node scripts/tensorboard-python.mjs)",
    );
    t.pass();
    return null;
  }
  return JSON.parse(execFileSync(python, [reader, folder], { encoding: "utf8" })) as Scalars;
}

const config = (t: ExecutionContext, changes: RunConfig = {}) =>
  tinyConfig(temporaryFolder(t), { tensorboard: true, diagnosticsEvery: 10, ...changes });

const eventFiles = (folder: string): string[] => readdirSync(folder).filter((name) => name.includes("tfevents"));

function logged(folder: string): RunEvent[] {
  const lines = readFileSync(join(folder, "log.jsonl"), "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as RunEvent);
}

function sameAsLog(t: ExecutionContext, scalars: Scalars, folder: string): void {
  const events = logged(folder);
  const steps = events.filter((event) => event.type === "step");
  t.deepEqual(
    scalars["train/loss"]?.map(([step, loss]) => [step, loss]),
    steps.map(({ step, loss }) => [step, Math.fround(loss)]),
  );
  t.deepEqual(
    scalars["validation/accuracy"]?.map(([step, score]) => [step, score]),
    events.flatMap((event) =>
      event.type === "evaluation" ? [[event.step, Math.fround(event.validation["accuracy"] ?? NaN)]] : [],
    ),
  );
  t.deepEqual(
    scalars["distance/blocks.3"]?.map(([step, distance]) => [step, distance]),
    events.flatMap((event) =>
      event.type === "diagnostics" ? [[event.step, Math.fround(event.distances["blocks.3"] ?? NaN)]] : [],
    ),
  );
}

test("TensorBoard reads every loss, score and distance of a run, and the test score of its best checkpoint", async (t) => {
  const own = config(t);
  const begun = Date.now() / 1000;
  const { best } = await finetune(own).result;
  const ended = Date.now() / 1000;
  t.is(eventFiles(own.output).length, 1);
  const scalars = readEvents(t, own.output);
  if (scalars === null) return;
  sameAsLog(t, scalars, own.output);
  t.deepEqual(
    Object.keys(scalars)
      .filter((tag) => tag.startsWith("train/"))
      .sort(),
    ["train/bias_ratio", "train/clipped_share", "train/grad_norm", "train/loss", "train/lr"],
  );
  t.deepEqual(scalars["test/accuracy"]?.[0]?.slice(0, 2), [best?.step, Math.fround(best?.test["accuracy"] ?? NaN)]);
  for (const [, , at] of Object.values(scalars).flat()) t.true(begun - 1 < at && at < ended + 1, `${at}`);
});

test("a resumed run has one event file, with each step once", async (t) => {
  const own = config(t, { resume: true });
  const stop = new AbortController();
  const onEvent = (event: RunEvent): void => {
    if (event.type === "step" && event.step === 15) stop.abort();
  };
  await t.throwsAsync(finetune(own, { signal: stop.signal, onEvent }).result, { instanceOf: AbortedError });
  await finetune(own).result;
  t.is(eventFiles(own.output).length, 1);
  const scalars = readEvents(t, own.output);
  if (scalars !== null) sameAsLog(t, scalars, own.output);
});

test("there is no event file unless it is asked for", async (t) => {
  const asked = config(t, { steps: 4 });
  await finetune(asked).result;
  t.is(eventFiles(asked.output).length, 1);
  const not = { ...config(t, { steps: 4 }), tensorboard: false };
  await finetune(not).result;
  t.is(eventFiles(not.output).length, 0);
});

test("the checksum is CRC-32C", (t) => {
  // Check value of the catalogue of parametrised CRC algorithms, and RFC 3720, B.4: 32 bytes of zeros.
  t.is(crc32c(Buffer.from("123456789")), 0xe3069283);
  t.is(crc32c(new Uint8Array(32)), 0x8a9136aa);
});
