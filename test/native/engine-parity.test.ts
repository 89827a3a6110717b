import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { readModelConfig } from "#src/models/config.js";
import { createSession, type Session } from "#src/native/session.js";
import type { ComputeDtype, EncoderShape, Engine, PackedBatch, ParameterPlan } from "#src/native/types.js";
import { change, type Method } from "#src/methods/method.js";
import { composePlan } from "#src/methods/plan.js";
import { mixout } from "#src/methods/mixout.js";
import { goldenFolder, goldenModels, openGolden, relativeError } from "../helpers/golden.js";
import { plainPlan, stepOptions } from "../helpers/plan.js";

// The promise: the fused form of the blocks is the plain form, masks included, only faster.

/** A model with its shape, of which tests ask nothing else. */
interface Model extends AsyncDisposable {
  session: Session;
  shape: EncoderShape;
}

/** Longest row of the tiny reference checkpoints; XLNet has no limit. */
const shortest = 64;
/** Longest row of the models that people use. */
const longest = 512;

/** Lengths of the rows of each batch; "n" is the longest row of the batch's model. */
const batches: (number | "n")[][] = [
  [1],
  [2],
  [7],
  ["n"],
  [1, 1],
  [1, 5],
  [5, 1],
  [1, "n"],
  [3, 3, 3],
  [2, "n", 2],
  [8, 16, 24, 32],
  [1, 2, 3, 4, 5, 6, 7, 8],
  [15, 17, 16, 31, 33],
  [1, 1, 1, "n", 1, 1, 1],
  [9, 9, 9, 9, 9, 9, 9, 9, 9],
  [40, 3, 28, 11],
  [13],
  [31, 33],
  ["n", "n"],
  [6, 5, 4, 3, 2, 1],
];

/** One row, one token, and one row much longer than the rest. */
const longBatches: (number | "n")[][] = [["n"], [1], [1, "n", 3, 2]];

/** Random weights in the shape of a reference checkpoint, for rows of 512 tokens. */
async function openLong(name: string, dtype: ComputeDtype, engine: Engine): Promise<Model> {
  const config = await readModelConfig(join(goldenFolder, name));
  const shape = { ...config.shape, maxPositions: longest };
  const session = createSession(shape, { device: "cpu", dtype, threads: 2, engine });
  const plan = plainPlan(session.parameters);
  session.parameters.forEach(({ role, kind }, i) => {
    plan[i]!.reset = role === "layerNorm" && kind === "weight" ? "ones" : { normal: 0.1, stream: "reinit" };
  });
  await session.setPlan(plan, { initSeed: 4, keepStart: false });
  return { session, shape, [Symbol.asyncDispose]: () => session.dispose() };
}

function batchOf({ shape }: Model, lengths: (number | "n")[], seed: number, most = shortest): PackedBatch {
  const sizes = lengths.map((length) => (length === "n" ? most : length));
  const tokens = sizes.reduce((sum, size) => sum + size, 0);
  const offsets = [0];
  for (const size of sizes) offsets.push(offsets.at(-1)! + size);
  const labels = sizes.map((_, row) => (row + seed) % shape.outputs);
  return {
    tokenIds: Int32Array.from({ length: tokens }, (_, i) => (i * 31 + seed * 7) % shape.vocabularySize),
    // XLNet has no table of segments: it compares them, whatever they are.
    segmentIds: Int32Array.from({ length: tokens }, (_, i) =>
      shape.family === "xlnet" ? (i >> 2) % 3 : shape.segmentTypes > 1 ? i % 2 : 0,
    ),
    rowOffsets: Int32Array.from(offsets),
    rowNumbers: Int32Array.from(sizes, (_, row) => row * 11 + seed),
    labels: shape.problem === "regression" ? Float32Array.from(labels, (label) => label / 2) : Int32Array.from(labels),
  };
}

/** Loss and gradient norm with dropout and with mixout, and the gradients without either. */
async function compute(model: Model, batch: PackedBatch, step: number) {
  const { session } = model;
  // The start lies elsewhere than the weights, which mixout would else not change.
  await session.setPlan(composePlan(session.parameters, [mixout({ p: 0.3 })]), { initSeed: 0, keepStart: true });
  const start = await session.readBuffer("start");
  await session.writeBuffer(
    "start",
    start.map((value, i) => value + 0.01 * Math.sin(i)),
  );
  const mixed = await session.train([batch], stepOptions({ step, learningRate: 0, dropout: false }));
  await session.setPlan(plainPlan(session.parameters), { initSeed: 0, keepStart: false });
  const dropped = await session.train([batch], stepOptions({ step, learningRate: 0 }));
  const { loss } = await session.gradients(batch);
  const gradients = new Map<string, Float32Array>();
  for (const { name } of session.parameters) gradients.set(name, await session.readGradient(name));
  return { mixed, dropped, loss, gradients };
}

/** A key's bias has a true gradient of zero: what stands there is rounding. */
const isKeyBias = (name: string) => /ttention\.key\.bias$/.test(name);

/** The gradients of all parameters that have any, in one array. */
const flat = (gradients: Map<string, Float32Array>): Float32Array =>
  Float32Array.from([...gradients].filter(([name]) => !isKeyBias(name)).flatMap(([, values]) => [...values]));

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;

/** All that `compute` finds is the same, but for rounding in float32. */
async function agree(
  t: ExecutionContext,
  fused: Model,
  plain: Model,
  batch: PackedBatch,
  number: number,
  what: string,
) {
  const tolerance = 2e-5;
  const ours = await compute(fused, batch, number);
  const theirs = await compute(plain, batch, number);
  const close = (a: number, b: number, quantity: string) =>
    t.true(Math.abs(a - b) <= tolerance * Math.max(Math.abs(b), 0.1), `${what} ${quantity}: ${a} ${b}`);
  close(ours.dropped.loss, theirs.dropped.loss, "loss with dropout");
  close(ours.dropped.gradNorm, theirs.dropped.gradNorm, "norm with dropout");
  close(ours.mixed.loss, theirs.mixed.loss, "loss with mixout");
  close(ours.mixed.gradNorm, theirs.mixed.gradNorm, "norm with mixout");
  close(ours.loss, theirs.loss, "loss");
  const error = relativeError(flat(ours.gradients), flat(theirs.gradients));
  t.true(error < tolerance, `${what} gradients: ${error}`);
}

/**
 * In bfloat16 both forms are off, by the rounding of their own operands; the fused one may not be off by more. Medians
 * over batches, since a ReLU of DistilBERT's head that rounding turns off moves one batch's gradient by a third.
 */
async function agreeAsRounded(
  t: ExecutionContext,
  { exact, fused, plain }: { exact: Model; fused: Model; plain: Model },
  chosen: PackedBatch[],
  allowance: number,
) {
  const errors: [ours: number, theirs: number][] = [];
  for (const [i, batch] of chosen.entries()) {
    const truth = flat((await compute(exact, batch, i + 1)).gradients);
    errors.push([
      relativeError(flat((await compute(fused, batch, i + 1)).gradients), truth),
      relativeError(flat((await compute(plain, batch, i + 1)).gradients), truth),
    ]);
  }
  const [ours, theirs] = [median(errors.map(([ours]) => ours)), median(errors.map(([, theirs]) => theirs))];
  t.log(`median error of the gradients: fused ${ours}, plain ${theirs}`);
  t.true(ours < allowance * theirs, `${ours} ${theirs}`);
}

for (const name of goldenModels) {
  test(`${name}: fused and plain agree in float32, with dropout and without, whatever the lengths`, async (t) => {
    await using fused = await openGolden(name, "float32", 2, "fused");
    await using plain = await openGolden(name, "float32", 2, "reference");
    for (const [i, lengths] of batches.entries()) {
      await agree(t, fused, plain, batchOf(fused, lengths, i), i + 1, lengths.join("+"));
    }
  });

  test(`${name}: in bfloat16 the fused form is as near to float32 as the plain one`, async (t) => {
    await using exact = await openGolden(name, "float32", 2, "reference");
    await using fused = await openGolden(name, "bfloat16", 2, "fused");
    await using plain = await openGolden(name, "bfloat16", 2, "reference");
    const some = batches.filter((_, i) => i % 3 === 0);
    await agreeAsRounded(
      t,
      { exact, fused, plain },
      some.map((lengths, i) => batchOf(fused, lengths, i)),
      1.25,
    );
  });

  test(`${name}: fused and plain agree on rows of 512 tokens, alone and among short ones, in both dtypes`, async (t) => {
    await using exact = await openLong(name, "float32", "reference");
    const long = longBatches.map((lengths, i) => batchOf(exact, lengths, i, longest));
    {
      await using fused = await openLong(name, "float32", "fused");
      for (const [i, batch] of long.entries()) await agree(t, fused, exact, batch, i + 1, longBatches[i]!.join("+"));
    }
    await using fused = await openLong(name, "bfloat16", "fused");
    await using plain = await openLong(name, "bfloat16", "reference");
    // An error is relative to a gradient that may be small, so the median is over more than the three batches.
    const more = longBatches.map((lengths, i) => batchOf(exact, lengths, long.length + i, longest));
    await agreeAsRounded(t, { exact, fused, plain }, [...long, ...more], 1.5);
  });
}

/** One step's loss, norm and gradients in place, over `parts`, under a plan. */
async function step(model: Model, plan: ParameterPlan[], parts: PackedBatch[]) {
  const { session } = model;
  await session.setPlan(plan, { initSeed: 0, keepStart: true });
  const start = await session.readBuffer("start");
  await session.writeBuffer(
    "start",
    start.map((value, i) => value + 0.01 * Math.sin(i)),
  );
  const { loss, gradNorm } = await session.train(parts, stepOptions({ step: 3, learningRate: 1e-3 }));
  return { loss, gradNorm, moments: await session.readBuffer("moment1") };
}

for (const name of goldenModels) {
  test(`${name}: fused and plain agree in a step of two parts with frozen blocks and the released code's mixout`, async (t) => {
    await using fused = await openGolden(name, "float32", 1, "fused");
    await using plain = await openGolden(name, "float32", 1, "reference");
    const parts = [batchOf(fused, [5, 17, 1], 1), batchOf(fused, [3, 9], 2)];
    const { parameters } = fused.session;
    const frozenBelow: Method = (all) =>
      change(all, ({ role, block }) => role === "embedding" || block === 0, { frozen: true });
    const biasesAlone: Method = (all) => change(all, ({ kind }) => kind === "weight", { frozen: true });
    const released = mixout({ p: 0.3, mask: "column", gradient: "released" });
    for (const methods of [[frozenBelow], [biasesAlone], [released], [released, frozenBelow]]) {
      const plan = composePlan(parameters, methods);
      const ours = await step(fused, plan, parts);
      const theirs = await step(plain, plan, parts);
      t.true(Math.abs(ours.loss - theirs.loss) < 2e-5);
      t.true(
        Math.abs(ours.gradNorm - theirs.gradNorm) < 2e-5 * theirs.gradNorm + 1e-6,
        `${ours.gradNorm} ${theirs.gradNorm}`,
      );
      const error = relativeError(ours.moments, theirs.moments);
      t.true(error < 2e-5, `${error}`);
    }
  });
}
