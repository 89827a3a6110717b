import test from "ava";
import type { PackedBatch } from "#src/native/types.js";
import { type GoldenModel, goldenModels, openGolden } from "../helpers/golden.js";
import { plainPlan, stepOptions } from "../helpers/plan.js";

/** The rows of a batch in another order, with the row numbers that they had. */
function rowsOf(batch: PackedBatch, rows: number[]): PackedBatch {
  const spans = rows.map((row) => [batch.rowOffsets[row]!, batch.rowOffsets[row + 1]!] as const);
  const offsets = [0];
  for (const [begin, end] of spans) offsets.push(offsets.at(-1)! + end - begin);
  const gather = (ids: Int32Array) => Int32Array.from(spans.flatMap(([begin, end]) => [...ids.slice(begin, end)]));
  return {
    tokenIds: gather(batch.tokenIds),
    segmentIds: gather(batch.segmentIds),
    rowOffsets: Int32Array.from(offsets),
    rowNumbers: Int32Array.from(rows, (row) => batch.rowNumbers[row]!),
    labels:
      batch.labels instanceof Float32Array
        ? Float32Array.from(rows, (row) => batch.labels![row]!)
        : Int32Array.from(rows, (row) => batch.labels![row]!),
  };
}

/** Loss and gradient norm of one step with dropout, from the same start each time. */
async function stepFrom(model: GoldenModel, parts: PackedBatch[], changes = {}) {
  const { session } = model;
  await session.setPlan(plainPlan(session.parameters), { initSeed: 0, keepStart: false });
  return session.train(parts, stepOptions({ learningRate: 0, ...changes }));
}

for (const name of goldenModels) {
  test(`${name}: dropout masks follow the row, not its place in the batch or the part it is in`, async (t) => {
    await using model = await openGolden(name);
    const rows = [...model.batch.rowNumbers.keys()];
    const half = rows.length >> 1;
    const whole = await stepFrom(model, [model.batch]);
    const turned = await stepFrom(model, [rowsOf(model.batch, rows.toReversed())]);
    const cut = await stepFrom(model, [
      rowsOf(model.batch, rows.slice(0, half)),
      rowsOf(model.batch, rows.slice(half)),
    ]);
    for (const other of [turned, cut]) {
      t.true(Math.abs(other.loss - whole.loss) < 1e-6, `${other.loss} ${whole.loss}`);
      t.true(Math.abs(other.gradNorm - whole.gradNorm) < 1e-5 * whole.gradNorm);
    }
  });
}

test("dropout masks do not depend on the number of threads", async (t) => {
  await using one = await openGolden("bert-classification", "float32", 1);
  await using two = await openGolden("bert-classification", "float32", 2);
  const alone = await stepFrom(one, [one.batch]);
  const both = await stepFrom(two, [two.batch]);
  t.true(Math.abs(alone.loss - both.loss) < 1e-6);
});

test("another seed, another step or other row numbers bring other masks", async (t) => {
  await using model = await openGolden("bert-classification");
  const base = await stepFrom(model, [model.batch]);
  const again = await stepFrom(model, [model.batch]);
  t.deepEqual(again, base);
  const renumbered = { ...model.batch, rowNumbers: model.batch.rowNumbers.map((row) => row + 100) };
  const losses = [
    base.loss,
    (await stepFrom(model, [model.batch], { orderSeed: 1 })).loss,
    (await stepFrom(model, [model.batch], { step: 2 })).loss,
    (await stepFrom(model, [renumbered])).loss,
    (await stepFrom(model, [model.batch], { dropout: false })).loss,
  ];
  t.is(new Set(losses).size, losses.length, losses.join(" "));
});

test("a normal reset has the asked deviation, follows initSeed, and leaves other parameters alone", async (t) => {
  await using model = await openGolden("bert-classification");
  const { session } = model;
  const draw = async (initSeed: number, stream: "classifierInit" | "reinit" = "classifierInit") => {
    const plan = plainPlan(session.parameters);
    const word = session.parameters.findIndex((parameter) => parameter.name === "embeddings.word.weight");
    plan[word]!.reset = { normal: 0.02, stream };
    await session.setPlan(plan, { initSeed, keepStart: false });
    return session.readParameter("embeddings.word.weight");
  };
  const untouched = await session.readParameter("blocks.0.ffn.output.weight");
  const first = await draw(7);
  t.deepEqual(await draw(7), first);
  t.notDeepEqual(await draw(8), first);
  t.notDeepEqual(await draw(7, "reinit"), first);
  t.deepEqual(await session.readParameter("blocks.0.ffn.output.weight"), untouched);

  const mean = first.reduce((sum, value) => sum + value, 0) / first.length;
  const std = Math.sqrt(first.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (first.length - 1));
  // Five standard errors of 3104 draws.
  t.true(Math.abs(mean) < (5 * 0.02) / Math.sqrt(first.length));
  t.true(Math.abs(std - 0.02) < (5 * 0.02) / Math.sqrt(2 * first.length));
});
