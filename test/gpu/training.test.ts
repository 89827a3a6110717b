import test from "ava";
import type { Session } from "#src/native/session.js";
import type { EncoderShape, PackedBatch, StepOptions } from "#src/native/types.js";
import { mixout } from "#src/methods/mixout.js";
import { composePlan } from "#src/methods/plan.js";
import { sameBits } from "../helpers/bits.js";
import { relativeError } from "../helpers/golden.js";
import { gpuTest } from "../helpers/gpu-test.js";
import { batchOf, gpuShape, lengthsOf, randomSession } from "../helpers/gpu.js";
import { plainPlan, stepOptions } from "../helpers/plan.js";

const steps = 20;
/** Two shapes of batches, of which the first is filled up to its bucket, and both come back. */
const sizes = [
  { tokens: 290, rows: 8 },
  { tokens: 512, rows: 8 },
];

function batchesOf(shape: EncoderShape): PackedBatch[] {
  return Array.from({ length: steps }, (_, step) => {
    const { tokens, rows } = sizes[step % sizes.length]!;
    return batchOf(shape, lengthsOf(tokens, rows, step), step);
  });
}

/** All steps, submitted ahead; `options` of each. */
async function train(
  session: Session,
  batches: PackedBatch[],
  options: (step: number) => Partial<StepOptions> = () => ({}),
) {
  return Promise.all(
    batches.map((batch, i) =>
      session.train([batch], stepOptions({ step: i + 1, learningRate: 1e-4, ...options(i + 1) })),
    ),
  );
}

test("the batches of these tests have the sizes that they say", (t) => {
  for (const [i, batch] of batchesOf(gpuShape).entries()) t.is(batch.tokenIds.length, sizes[i % 2]!.tokens);
});

gpuTest("20 steps with dropout have the CPU's losses in float32: so the masks are the same", async (t) => {
  await using cpu = await randomSession("cpu");
  await using gpu = await randomSession("cuda");
  const batches = batchesOf(gpuShape);
  const [expected, actual] = [await train(cpu, batches), await train(gpu, batches)];
  for (const [i, { loss, gradNorm, finite }] of actual.entries()) {
    t.true(finite);
    t.true(Math.abs(loss - expected[i]!.loss) < 1e-4, `step ${i + 1}: ${loss} ${expected[i]!.loss}`);
    // AdamW divides by the size of a gradient, so that rounding of the smallest ones moves weights, and these the rest.
    t.true(
      Math.abs(gradNorm / expected[i]!.gradNorm - 1) < 1e-3,
      `step ${i + 1}: ${gradNorm} ${expected[i]!.gradNorm}`,
    );
  }
  const error = relativeError(await gpu.readBuffer("parameters"), await cpu.readBuffer("parameters"));
  const apart = Math.max(...actual.map(({ loss }, i) => Math.abs(loss - expected[i]!.loss)));
  t.log(`losses are ${apart} apart, parameters ${error}`);
  t.true(error < 1e-4, `${error}`);
  t.true(gpu.recordedSteps() > 0, "no step was replayed");
});

gpuTest("mixout and steps of two parts have the CPU's losses in float32", async (t) => {
  const runs = [];
  for (const device of ["cpu", "cuda"] as const) {
    await using session = await randomSession(device);
    await session.setPlan(composePlan(session.parameters, [mixout({ p: 0.3 })]), { initSeed: 0, keepStart: true });
    const losses = [];
    for (let step = 1; step <= 6; step++) {
      const parts = [0, 1].map((part) => batchOf(gpuShape, lengthsOf(200, 6, step), 2 * step + part));
      losses.push((await session.train(parts, stepOptions({ step, learningRate: 1e-4 }))).loss);
    }
    runs.push({ losses, moved: (await session.distances())["blocks.0"]! });
  }
  const [cpu, gpu] = runs;
  for (const [i, loss] of gpu!.losses.entries()) t.true(Math.abs(loss - cpu!.losses[i]!) < 1e-4, `step ${i + 1}`);
  t.true(Math.abs(gpu!.moved / cpu!.moved - 1) < 1e-3);
});

gpuTest("20 steps in bfloat16 stay near the CPU's in float32", async (t) => {
  await using cpu = await randomSession("cpu");
  await using gpu = await randomSession("cuda", { dtype: "bfloat16" });
  const batches = batchesOf(gpuShape);
  const [expected, actual] = [await train(cpu, batches), await train(gpu, batches)];
  t.log(`losses are ${Math.max(...actual.map(({ loss }, i) => Math.abs(loss - expected[i]!.loss)))} apart`);
  for (const [i, { loss }] of actual.entries()) {
    // Eight bits are 0.4 % of a number; three blocks and 20 steps of training make more of it.
    t.true(Math.abs(loss - expected[i]!.loss) < 0.05, `step ${i + 1}: ${loss} ${expected[i]!.loss}`);
  }
});

for (const dtype of ["float32", "bfloat16"] as const) {
  gpuTest(`replayed steps equal queued ones bit for bit in ${dtype}`, async (t) => {
    await using replayed = await randomSession("cuda", { dtype });
    await using queued = await randomSession("cuda", { dtype });
    const batches = batchesOf(gpuShape);
    // No gradient is clipped to such norms; a recording holds the number, so that a new one each step is never replayed.
    const again = await train(replayed, batches, () => ({ maxGradNorm: 1e9 }));
    const anew = await train(queued, batches, (step) => ({ maxGradNorm: 1e9 + step }));
    t.is(replayed.recordedSteps(), sizes.length);
    t.is(queued.recordedSteps(), 0);
    t.deepEqual(again, anew);
    for (const buffer of ["parameters", "moment1", "moment2"] as const) {
      t.true(sameBits(await replayed.readBuffer(buffer), await queued.readBuffer(buffer)), buffer);
    }
  });
}

gpuTest("what was recorded serves the next run of the same plan, and not one of another plan", async (t) => {
  await using session = await randomSession("cuda");
  await session.snapshot("base");
  const batches = batchesOf(gpuShape);
  const first = await train(session, batches);
  const recorded = session.recordedSteps();
  await session.restore("base");
  await session.setPlan(plainPlan(session.parameters), { initSeed: 0, keepStart: false });
  t.deepEqual(await train(session, batches), first);
  t.is(session.recordedSteps(), recorded);

  const frozen = plainPlan(session.parameters).map((entry, i) => ({ ...entry, frozen: i < 5 }));
  await session.restore("base");
  await session.setPlan(frozen, { initSeed: 0, keepStart: false });
  const before = await session.readParameter(session.parameters[0]!.name);
  await train(session, batches);
  t.true(sameBits(await session.readParameter(session.parameters[0]!.name), before));
  t.is(session.recordedSteps(), recorded);
});

gpuTest("two sessions side by side end where each of them ends alone", async (t) => {
  const run = async (seed: number) => {
    await using session = await randomSession("cuda", { dtype: "bfloat16" });
    const results = await train(session, batchesOf(gpuShape), () => ({ orderSeed: seed }));
    return { results, parameters: await session.readBuffer("parameters") };
  };
  const alone = [await run(1), await run(2)];
  const together = await Promise.all([run(1), run(2)]);
  for (const [i, { results, parameters }] of together.entries()) {
    t.deepEqual(results, alone[i]!.results);
    t.true(sameBits(parameters, alone[i]!.parameters));
  }
  t.notDeepEqual(alone[0]!.results, alone[1]!.results);
});

gpuTest("a gradient that is not finite changes nothing, and its step says so", async (t) => {
  await using session = await randomSession("cuda");
  const batches = batchesOf(gpuShape);
  await train(session, batches);
  const name = "blocks.1.ffn.output.weight";
  const values = await session.readParameter(name);
  values[7] = Infinity;
  await session.load({ [name]: { dtype: "float32", data: new Uint8Array(values.buffer) } });
  const before = await session.readBuffer("parameters");
  const results = await train(session, batches.slice(0, 3));
  t.deepEqual(
    results.map(({ finite }) => finite),
    [false, false, false],
  );
  t.true(sameBits(await session.readBuffer("parameters"), before));
});

gpuTest("operators are not profiled on a GPU, and a session that is asked to goes on", async (t) => {
  await using session = await randomSession("cuda");
  await t.throwsAsync(session.profile(true), { code: "ERR_CONFIG" });
  t.is((await train(session, batchesOf(gpuShape))).length, steps);
});

gpuTest("a step that needs more memory than there is fails with its code, and the session goes on", async (t) => {
  const wide = { hiddenSize: 1024, embeddingSize: 1024, heads: 16, intermediateSize: 4096 };
  const large = { ...gpuShape, ...wide, layers: 4, maxPositions: 512 };
  await using session = await randomSession("cuda", { shape: large });
  const small = batchOf(large, [9, 8, 7], 1);
  const before = await session.train([small], stepOptions({ step: 1, learningRate: 0 }));
  // About 250 kB a token are kept for the backward pass: a million tokens fit on no device. More than 65535 times 16 the
  // kernels would refuse, filler included: these are 31 times 32768, which need none.
  const huge = batchOf(large, Array<number>(1984).fill(512), 2);
  await t.throwsAsync(session.train([huge], stepOptions({ step: 2 })), { code: "ERR_OUT_OF_MEMORY" });
  const after = await session.train([small], stepOptions({ step: 1, learningRate: 0 }));
  t.deepEqual(after, before);
});
