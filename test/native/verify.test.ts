import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { DataError } from "#src/errors.js";
import { readSafetensors } from "#src/models/safetensors.js";
import { builtInBundle, verify } from "#src/verify/verify.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

test("the built-in bundle passes, and what cannot be checked yet is skipped, not passed", async (t) => {
  const report = await verify(undefined, { threads: 1 });
  t.deepEqual(
    report.checks.filter(({ ok }) => !ok),
    [],
  );
  t.true(report.ok);
  const covered = new Set(report.checks.map(({ name }) => name.split("/")[0]));
  t.deepEqual([...covered].sort(), [
    "adamw",
    "bart-classification",
    "bert-bf16",
    "bert-classification",
    "bert-legacy-bin",
    "bert-regression",
    "distilbert-classification",
    "electra-classification",
    "mixout",
    "roberta-classification",
    "trajectory-accum2",
    "trajectory-bertadam",
    "trajectory-debiased",
    "trajectory-llrd",
    "trajectory-prior_wd",
    "trajectory-wd",
    "xlnet-classification",
  ]);
  const skipped = report.skipped.map(({ name }) => name);
  t.deepEqual(skipped.sort(), ["data", "metrics.json"]);
});

test("the bundle passes in bfloat16 as well, on both engines, as near as rounding allows and no nearer", async (t) => {
  for (const engine of ["fused", "reference"] as const) {
    const report = await verify(undefined, { threads: 1, engine, dtype: "bfloat16" });
    t.deepEqual(
      report.checks.filter(({ ok }) => !ok),
      [],
    );
    // float32 would pass these tolerances too; what is checked here must be bfloat16.
    const logits = report.checks.filter(({ name }) => /-(classification|regression)\/logits$/.test(name));
    t.is(logits.length, 7);
    for (const { name, error } of logits) t.true(error > 1e-4, `${engine} ${name}: ${error}`);
  }
});

test("the bundle passes on the reference engine in float32", async (t) => {
  const report = await verify(undefined, { threads: 1, engine: "reference" });
  t.true(report.ok && report.checks.length > 80, JSON.stringify(report.checks.filter(({ ok }) => !ok)));
});

test("mixout agrees with the reference to the last digits of float32", async (t) => {
  const { checks } = await verify(undefined, { threads: 1 });
  const errors = checks.filter(({ name }) => name.startsWith("mixout/")).map(({ error }) => error);
  t.is(errors.length, 12);
  for (const error of errors) t.true(error < 1e-6, `${error}`);
});

test("one altered reference value fails its check alone", async (t) => {
  const bundle = join(temporaryFolder(t), "bundle");
  cpSync(join(builtInBundle, "bert-regression"), join(bundle, "bert-regression"), { recursive: true });
  const path = join(bundle, "bert-regression/expected.safetensors");
  const bytes = readFileSync(path);
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString()) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const at = 8 + Number(bytes.readBigUInt64LE()) + (header["logits"]?.data_offsets[0] ?? NaN);
  bytes.writeFloatLE(bytes.readFloatLE(at) * 1.01, at);
  writeFileSync(path, bytes);

  const report = await verify(bundle, { threads: 1 });
  t.false(report.ok);
  t.deepEqual(
    report.checks.filter(({ ok }) => !ok).map(({ name }) => name),
    ["bert-regression/logits"],
  );
});

test("the dump names every computed tensor as the bundle does, with the bundle's shapes", async (t) => {
  const dump = join(temporaryFolder(t), "dump.safetensors");
  await verify(undefined, { threads: 1, dump });
  const { tensors } = await readSafetensors(dump);
  for (const name of ["bert-classification", "bert-regression"]) {
    const expected = await readSafetensors(join(builtInBundle, name, "expected.safetensors"));
    const inputs = new Set(["input_ids", "attention_mask", "token_type_ids", "labels"]);
    for (const [key, { shape }] of expected.tensors) {
      if (!inputs.has(key)) t.deepEqual(tensors.get(`${name}/${key}`)?.shape, shape, `${name}/${key}`);
    }
  }
  const trajectory = await readSafetensors(join(builtInBundle, "trajectory-llrd.safetensors"));
  for (const [key, { shape }] of trajectory.tensors) {
    t.deepEqual(tensors.get(`trajectory-llrd/${key}`)?.shape, shape, key);
  }
  t.deepEqual(tensors.get("adamw/biased")?.shape, [12, 7, 5]);
  const mixout = await readSafetensors(join(builtInBundle, "mixout.safetensors"));
  for (const [key, { shape }] of mixout.tensors) {
    if (/^(element|column)\./.test(key) && !key.endsWith(".mask")) {
      t.deepEqual(tensors.get(`mixout/${key}`)?.shape, shape, key);
    }
  }
});

test("a folder without reference values is refused", async (t) => {
  await t.throwsAsync(verify(temporaryFolder(t)), { instanceOf: DataError, message: /no reference values/ });
  await t.throwsAsync(verify("/nowhere"), { instanceOf: DataError, message: /does not exist/ });
});
