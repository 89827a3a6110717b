import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import test from "ava";
import { createSession } from "#src/native/session.js";
import type { EncoderShape, PackedBatch } from "#src/native/types.js";
import { sameBits } from "../helpers/bits.js";
import { plainPlan, stepOptions } from "../helpers/plan.js";

const shape: EncoderShape = {
  family: "bert",
  vocabularySize: 100,
  embeddingSize: 16,
  hiddenSize: 16,
  layers: 2,
  heads: 2,
  intermediateSize: 32,
  decoder: null,
  maxPositions: 16,
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

const batch: PackedBatch = {
  tokenIds: Int32Array.from({ length: 64 }, (_, i) => i),
  segmentIds: new Int32Array(64),
  rowOffsets: Int32Array.of(0, 16, 32, 48, 64),
  rowNumbers: Int32Array.of(0, 1, 2, 3),
  labels: Int32Array.of(0, 1, 0, 1),
};

async function openSession(threads: number) {
  const session = createSession(shape, { device: "cpu", dtype: "float32", threads });
  // Settled behind the session's own beginning.
  await session.readParameter("pooler.bias");
  return session;
}

async function train(session: Awaited<ReturnType<typeof openSession>>) {
  const plan = plainPlan(session.parameters);
  for (const entry of plan) entry.reset = { normal: 0.1, stream: "reinit" };
  await session.setPlan(plan, { initSeed: 1, keepStart: false });
  for (let step = 1; step <= 3; step++) await session.train([batch], stepOptions({ step }));
  return session.readBuffer("parameters");
}

const threadsOfProcess = () => readdirSync("/proc/self/task").length;

test.serial("a session keeps its number of threads when another is made beside it", async (t) => {
  await using three = await openSession(3);
  await using one = await openSession(1);
  t.is(three.threads, 3);
  const before = threadsOfProcess();
  await train(one);
  t.is(threadsOfProcess(), before, "a session of one thread starts no other");
  await train(three);
  t.is(threadsOfProcess(), before + 2, "two threads help that of a session of three");
});

test.serial("0 threads are one per physical core, of which there are no more than processors", async (t) => {
  await using session = await openSession(0);
  t.true(session.threads >= 1);
  t.true(session.threads <= availableParallelism());
});

test.serial("more sessions than cores, each with all of them, train at once and disturb no number", async (t) => {
  await using alone = await openSession(0);
  const expected = await train(alone);
  const crowd = await Promise.all(Array.from({ length: 6 }, () => openSession(0)));
  const all = await Promise.all(crowd.map(train));
  for (const values of all) t.true(sameBits(values, expected));
  await Promise.all(crowd.map((session) => session.dispose()));
});
