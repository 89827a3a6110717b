import { spawnSync } from "node:child_process";
import { Worker } from "node:worker_threads";
import test from "ava";
import { createSession } from "#src/native/session.js";
import type { EncoderShape, PackedBatch } from "#src/native/types.js";
import { sameBits } from "../helpers/bits.js";
import { plainPlan, stepOptions } from "../helpers/plan.js";

/** Large enough that a step takes tens of milliseconds. */
const shape: EncoderShape = {
  family: "bert",
  vocabularySize: 1000,
  embeddingSize: 256,
  hiddenSize: 256,
  layers: 4,
  heads: 4,
  intermediateSize: 1024,
  decoder: null,
  maxPositions: 128,
  positionOffset: 0,
  segmentTypes: 2,
  embeddingScale: 1,
  layerNormEps: 1e-12,
  activation: "gelu",
  hiddenDropout: 0.1,
  attentionDropout: 0.1,
  activationDropout: 0,
  classifierDropout: 0.1,
  outputs: 2,
  problem: "classification",
};

const options = { device: "cpu", dtype: "float32", threads: 1 } as const;

function batchOf(rows: number, length: number): PackedBatch {
  return {
    tokenIds: Int32Array.from({ length: rows * length }, (_, i) => (i * 7919) % shape.vocabularySize),
    segmentIds: new Int32Array(rows * length),
    rowOffsets: Int32Array.from({ length: rows + 1 }, (_, row) => row * length),
    rowNumbers: Int32Array.from({ length: rows }, (_, row) => row),
    labels: Int32Array.from({ length: rows }, (_, row) => row % 2),
  };
}

async function randomSession() {
  const session = createSession(shape, options);
  const plan = plainPlan(session.parameters);
  for (const entry of plan) entry.reset = { normal: 0.02, stream: "classifierInit" };
  await session.setPlan(plan, { initSeed: 1, keepStart: true });
  return session;
}

test.serial("steps submitted ahead run in order and end where steps awaited one by one end", async (t) => {
  const batch = batchOf(8, 32);
  const run = async (ahead: boolean) => {
    await using session = await randomSession();
    const losses: number[] = [];
    const submitted = [];
    for (let step = 1; step <= 4; step++) {
      const call = session.train([batch], stepOptions({ step })).then(({ loss }) => losses.push(loss));
      if (!ahead) await call;
      submitted.push(call);
    }
    await Promise.all(submitted);
    return { losses, values: await session.readBuffer("parameters") };
  };
  const first = await run(true);
  t.is(new Set(first.losses).size, 4);
  const second = await run(false);
  t.deepEqual(second.losses, first.losses);
  t.true(sameBits(second.values, first.values));
});

test.serial("a snapshot keeps every parameter and brings it back", async (t) => {
  await using session = await randomSession();
  const before = await session.readBuffer("parameters");
  const pooler = await session.readParameter("pooler.weight");
  await session.snapshot("base");
  await session.train([batchOf(4, 16)], stepOptions());
  t.false(sameBits(await session.readParameter("pooler.weight"), pooler));
  t.true(sameBits(await session.readSnapshot("base", "pooler.weight"), pooler));
  await session.restore("base");
  t.true(sameBits(await session.readBuffer("parameters"), before));
  await session.dropSnapshot("base");
  await t.throwsAsync(session.restore("base"), { message: /no snapshot 'base'/ });
});

test.serial("buffers written into a fresh session go on with the same bits", async (t) => {
  const batch = batchOf(8, 32);
  await using unbroken = await randomSession();
  for (let step = 1; step <= 2; step++) await unbroken.train([batch], stepOptions({ step }));
  const buffers = await Promise.all(
    (["parameters", "moment1", "moment2", "start"] as const).map(
      async (name) => [name, await unbroken.readBuffer(name)] as const,
    ),
  );
  await unbroken.train([batch], stepOptions({ step: 3 }));

  await using resumed = await randomSession();
  for (const [name, values] of buffers) await resumed.writeBuffer(name, values);
  await resumed.train([batch], stepOptions({ step: 3 }));
  t.true(sameBits(await resumed.readBuffer("parameters"), await unbroken.readBuffer("parameters")));
  t.deepEqual(await resumed.distances(), await unbroken.distances());
});

test.serial("abort finishes the step at work and rejects those behind it; the session stays usable", async (t) => {
  await using session = await randomSession();
  const batch = batchOf(32, 64);
  const calls = [1, 2, 3].map((step) => session.train([batch], stepOptions({ step })));
  const rejected = calls.slice(1).map((call) => t.throwsAsync(call, { code: "ERR_ABORTED" }));
  await new Promise((resolve) => setTimeout(resolve, 20));
  session.abort();
  await calls[0];
  await Promise.all(rejected);
  t.true((await session.train([batch], stepOptions({ step: 2 }))).finite);
});

test.serial("abort right after a session was made leaves it usable", async (t) => {
  for (let i = 0; i < 20; i++) {
    await using session = createSession({ ...shape, vocabularySize: 10, hiddenSize: 4, intermediateSize: 4 }, options);
    session.abort();
    t.is((await session.readParameter("classifier.bias")).length, 2);
  }
});

test.serial("dispose ends the step at work, and every later call rejects", async (t) => {
  const session = await randomSession();
  const step = t.throwsAsync(session.train([batchOf(32, 128)], stepOptions()), { code: "ERR_ABORTED" });
  await new Promise((resolve) => setTimeout(resolve, 20));
  await session.dispose();
  await step;
  await t.throwsAsync(session.readBuffer("parameters"), { code: "ERR_DISPOSED" });
  await session.dispose();
});

test.serial("sessions that were never disposed are collected, since V8 knows what they hold", (t) => {
  // 40 sessions of about 70 MiB. Nothing on the JavaScript side would make V8 collect them.
  const { status, stdout, stderr } = runNode(`
    for (let i = 0; i < 40; i++) {
      const forgotten = createSession(shape, sessionOptions);
      await forgotten.setPlan(plan, { initSeed: 1, keepStart: true });
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    console.log(session.peakMemoryBytes());
  `);
  t.is(status, 0, stderr);
  t.true(Number(stdout) < 1.5 * 2 ** 30, stdout);
});

test.serial("two sessions at once do not disturb each other", async (t) => {
  const batch = batchOf(8, 32);
  const train = async () => {
    await using session = await randomSession();
    for (let step = 1; step <= 3; step++) await session.train([batch], stepOptions({ step }));
    return await session.readBuffer("parameters");
  };
  const alone = await train();
  const [first, second] = await Promise.all([train(), train()]);
  t.true(sameBits(first, alone));
  t.true(sameBits(second, alone));
});

test.serial("frozen parameters do not move, and freezing everything is refused", async (t) => {
  await using session = await randomSession();
  const plan = plainPlan(session.parameters);
  session.parameters.forEach((parameter, i) => (plan[i]!.frozen = parameter.role === "embedding"));
  await session.setPlan(plan, { initSeed: 0, keepStart: true });
  await session.train([batchOf(4, 16)], stepOptions());
  const word = await session.readGradient("embeddings.word.weight");
  t.true(word.every((value) => value === 0));
  const distances = await session.distances();
  t.true(distances["blocks.0"]! > 0);
  for (const entry of plan) entry.frozen = true;
  await session.setPlan(plan, { initSeed: 0, keepStart: false });
  await t.throwsAsync(session.train([batchOf(4, 16)], stepOptions()), { code: "ERR_CONFIG", message: /freezes every/ });
});

test.serial("a gradient that is not finite skips the update", async (t) => {
  await using session = await randomSession();
  const poisoned = new Float32Array(256).fill(Infinity);
  await session.load({ "pooler.bias": { dtype: "float32", data: new Uint8Array(poisoned.buffer) } });
  await session.load({
    "classifier.weight": { dtype: "float32", data: new Uint8Array(new Float32Array(512).fill(NaN).buffer) },
  });
  const before = await session.readBuffer("moment1");
  const result = await session.train([batchOf(4, 16)], stepOptions());
  t.false(result.finite);
  t.true(sameBits(await session.readBuffer("moment1"), before));
});

const badBatches: [string, (batch: PackedBatch) => void, RegExp][] = [
  ["a token id beyond the vocabulary", (batch) => (batch.tokenIds[3] = 1000), /token id 1000/],
  ["a negative token id", (batch) => (batch.tokenIds[3] = -1), /token id -1/],
  ["an unknown segment", (batch) => (batch.segmentIds[0] = 2), /segment id 2/],
  ["a label beyond the classes", (batch) => (batch.labels![0] = 2), /label 2/],
  ["offsets that do not end at the last token", (batch) => (batch.rowOffsets[2] = 31), /offsets/],
  ["offsets that fall", (batch) => (batch.rowOffsets[1] = 40), /no tokens|offsets/],
  ["an empty row", (batch) => (batch.rowOffsets[1] = 0), /row 0 of a batch has no tokens/],
];
for (const [what, spoil, message] of badBatches) {
  test.serial(`${what} is refused before it reaches memory`, async (t) => {
    await using session = await randomSession();
    const batch = batchOf(2, 16);
    spoil(batch);
    await t.throwsAsync(session.forward(batch), { code: "ERR_DATA", message });
  });
}

test.serial("a row longer than the model's positions is refused by its number", async (t) => {
  await using session = await randomSession();
  await t.throwsAsync(session.forward(batchOf(1, 129)), { code: "ERR_DATA", message: /row 0 has 129 tokens/ });
});

test.serial("a model that does not fit into memory is a coded error", async (t) => {
  await using session = createSession({ ...shape, vocabularySize: 2 ** 24, hiddenSize: 2 ** 20 }, options);
  await t.throwsAsync(session.readBuffer("parameters"), { code: "ERR_OUT_OF_MEMORY" });
});

const script = (body: string) => `
  import { createSession } from ${JSON.stringify(new URL("../../dist/native/session.js", import.meta.url).href)};
  const shape = ${JSON.stringify(shape)};
  const sessionOptions = ${JSON.stringify(options)};
  const session = createSession(shape, sessionOptions);
  const plan = session.parameters.map(() => ({ frozen: false, lrScale: 1, weightDecay: 0, decayTowards: "zero",
    decayScaledByLr: true, reset: { normal: 0.02, stream: "classifierInit" }, mixout: null }));
  await session.setPlan(plan, { initSeed: 1, keepStart: false });
  const rows = 64, length = 128;
  const batch = {
    tokenIds: new Int32Array(rows * length).fill(5), segmentIds: new Int32Array(rows * length),
    rowOffsets: Int32Array.from({ length: rows + 1 }, (_, row) => row * length),
    rowNumbers: new Int32Array(rows), labels: new Int32Array(rows),
  };
  const step = () => session.train([batch], { step: 1, learningRate: 1e-3, betas: [0.9, 0.999], eps: 1e-8,
    biasCorrection: true, maxGradNorm: 1, orderSeed: 0, dropout: true });
  ${body}
`;

function runNode(body: string) {
  return spawnSync(process.execPath, ["--input-type=module", "-e", script(body)], {
    encoding: "utf8",
    timeout: 60_000,
  });
}

test.serial("process.exit while a step runs ends with the asked code and no crash", (t) => {
  const { status, signal, stderr } = runNode("step().catch(() => {}); setTimeout(() => process.exit(7), 50);");
  t.is(signal, null, stderr);
  t.is(status, 7, stderr);
});

test.serial("an idle session does not keep the process alive, a pending step does", (t) => {
  const { status, stdout, stderr } = runNode("step().then(({ finite }) => console.log(finite));");
  t.is(status, 0, stderr);
  t.is(stdout.trim(), "true");
});

test.serial(
  "sessions work in worker threads, and a worker ended in the middle of a step takes nothing with it",
  async (t) => {
    const run = (body: string) =>
      new Worker(new URL(`data:text/javascript,${encodeURIComponent(script(body))}`), { stderr: false });
    const ended = run(
      "step().catch(() => {}); const { parentPort } = await import('node:worker_threads'); parentPort.postMessage('busy');",
    );
    await new Promise((resolve) => ended.once("message", resolve));
    await ended.terminate();

    const worker = run(
      "const { parentPort } = await import('node:worker_threads'); parentPort.postMessage((await step()).finite);",
    );
    t.true(await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject)));
    await worker.terminate();

    await using session = await randomSession();
    t.true((await session.train([batchOf(4, 16)], stepOptions())).finite);
  },
);
