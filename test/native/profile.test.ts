import test from "ava";
import type { EncoderShape, OperatorTime, PackedBatch, ParameterInfo, Profile } from "#src/native/types.js";
import { goldenModels, openGolden } from "../helpers/golden.js";
import { plainPlan, stepOptions } from "../helpers/plan.js";

const { adamwBytes, movedElements } = (await import(
  new URL("../../scripts/bench/floor.mjs", import.meta.url).href
)) as {
  adamwBytes: (elements: number) => number;
  movedElements: (parameters: readonly ParameterInfo[], words: number) => number;
};

const model = "bert-classification";
const sum = (operators: OperatorTime[], what: "seconds" | "flop") =>
  operators.reduce((total, one) => total + one[what], 0);
const named = ({ operators }: Profile, name: string) => operators.filter((operator) => operator.name === name);

test("a forward pass holds the arithmetic of its matrix products and its attention, and nothing twice", async (t) => {
  await using golden = await openGolden(model);
  const { session, batch, shape } = golden;
  await session.profile(true);
  // With hidden states the last block computes all tokens, as the others do.
  await session.forward(batch, { hiddenStates: true });
  const profile = await session.takeProfile();

  const { hiddenSize: h, intermediateSize: f, layers, outputs } = shape;
  const tokens = batch.tokenIds.length;
  const rows = batch.rowNumbers.length;
  let pairs = 0;
  for (let row = 0; row < rows; row++) pairs += (batch.rowOffsets[row + 1]! - batch.rowOffsets[row]!) ** 2;
  const block = 2 * tokens * (4 * h * h + 2 * h * f) + 4 * pairs * h;
  t.is(sum(profile.operators, "flop"), layers * block + 2 * rows * (h * h + h * outputs));

  const attention = named(profile, "steadytune::packed_attention");
  t.is(
    attention.reduce((calls, operator) => calls + operator.calls, 0),
    layers,
  );
  // Query, key and value and the row offsets and numbers read, the context and the softmax's denominators written.
  t.is(attention[0]!.bytes / attention[0]!.calls, 4 * (4 * tokens * h + rows + 1 + rows + shape.heads * tokens));
  t.true(sum(profile.operators, "seconds") > 0);
  t.true(sum(profile.operators, "seconds") <= profile.seconds);
});

/** Some rows of the given lengths. */
function rowsOf({ shape }: { shape: EncoderShape }, lengths: number[]): PackedBatch {
  const rowOffsets = [0];
  for (const length of lengths) rowOffsets.push(rowOffsets.at(-1)! + length);
  const tokens = rowOffsets.at(-1)!;
  return {
    tokenIds: Int32Array.from({ length: tokens }, (_, i) => (i * 31) % shape.vocabularySize),
    segmentIds: new Int32Array(tokens),
    rowOffsets: Int32Array.from(rowOffsets),
    rowNumbers: Int32Array.from(lengths, (_, row) => row),
    labels: Int32Array.from(lengths, (_, row) => row % 2),
  };
}

for (const name of goldenModels) {
  test(`${name}: a step calls the same operators for any number of rows`, async (t) => {
    await using golden = await openGolden(name);
    const { session, shape } = golden;
    await session.setPlan(plainPlan(session.parameters), { initSeed: 0, keepStart: false });
    await session.profile(true);
    const calls: Map<string, number>[] = [];
    for (const lengths of [[5], [3, 9, 1, 4]]) {
      const batch = rowsOf(golden, lengths);
      const labels = shape.problem === "regression" ? Float32Array.from(batch.labels!) : batch.labels;
      await session.train([{ ...batch, labels }], stepOptions());
      const counts = new Map<string, number>();
      for (const { name: operator, calls: count } of (await session.takeProfile()).operators) {
        counts.set(operator, (counts.get(operator) ?? 0) + count);
      }
      calls.push(counts);
    }
    t.deepEqual(calls[1], calls[0]);
  });
}

test("the last block of XLNet and the last decoder block of BART ask for summary tokens alone", async (t) => {
  const lengths = [5, 12, 1];
  const tokens = 18;
  const pairs = 5 * 5 + 12 * 12 + 1;
  const seen = 5 * 3 + 6 * 13 + 1;
  {
    await using golden = await openGolden("xlnet-classification");
    const { session, shape } = golden;
    await session.profile(true);
    await session.forward(rowsOf(golden, lengths));
    const attention = named(await session.takeProfile(), "steadytune::relative_attention");
    // Scores by content and by position, and the values: three products over the pairs of all blocks but the last.
    t.is(sum(attention, "flop"), 6 * shape.hiddenSize * ((shape.layers - 1) * pairs + tokens));
  }
  await using golden = await openGolden("bart-classification");
  const { session, shape } = golden;
  await session.profile(true);
  await session.forward(rowsOf(golden, lengths));
  const profile = await session.takeProfile();
  const flop = (operator: string) => sum(named(profile, `steadytune::${operator}`), "flop") / (4 * shape.hiddenSize);
  const decoders = shape.decoder!.layers - 1;
  t.is(flop("packed_attention"), shape.layers * pairs + decoders * seen);
  t.is(flop("cross_attention"), decoders * pairs);
  // Of the decoder's own tokens, and of the encoder's.
  t.is(flop("summary_attention"), 2 * tokens);
});

test("the optimizer's traffic is that of the parameters that a step moves", async (t) => {
  for (const dtype of ["float32", "bfloat16"] as const) {
    await using golden = await openGolden(model, dtype);
    const { session, batch } = golden;
    await session.setPlan(plainPlan(session.parameters), { initSeed: 0, keepStart: false });
    await session.profile(true);
    await session.train([batch], stepOptions());
    const profile = await session.takeProfile();
    // What autograd does between the operators is no operator.
    t.true(profile.operators.every(({ name }) => /^(aten|steadytune)::/.test(name)));
    t.not(sum(named(profile, "aten::mm"), "flop"), 0);
    const [adamw, ...more] = named(profile, "steadytune::adamw_scheduled_");
    t.deepEqual(more, []);
    const words = new Set(batch.tokenIds).size;
    const floor = adamwBytes(movedElements(session.parameters, words));
    // In bfloat16 every value has a copy of two bytes, and the gradients of matrices in the blocks are two bytes shorter.
    const matrices = session.parameters.filter(({ name, shape }) => name.startsWith("blocks.") && shape.length === 2);
    const shorter = movedElements(matrices, 0);
    const copied = movedElements(session.parameters, words);
    t.is(adamw?.bytes, dtype === "float32" ? floor : floor + 2 * copied - 2 * shorter);
  }
});

test("watching changes no bit, and ends when it is turned off", async (t) => {
  await using golden = await openGolden(model);
  const { session, batch } = golden;
  const { logits } = await session.forward(batch);
  await session.profile(true);
  t.deepEqual((await session.forward(batch)).logits, logits);
  t.true((await session.takeProfile()).operators.length > 0);
  t.deepEqual(await session.takeProfile(), { operators: [], seconds: 0 });
  await session.profile(false);
  await session.forward(batch);
  await t.throwsAsync(session.takeProfile(), { message: /without a profile/ });
});

test("bare products and copies are timed as often as was asked", async (t) => {
  await using golden = await openGolden(model);
  for (const product of ["forward", "gradInput", "gradWeight"] as const) {
    const seconds = await golden.session.timeProduct({ product, m: 3, k: 5, n: 7, dtype: "bfloat16", repeats: 4 });
    t.is(seconds.length, 4);
    t.true(seconds.every((value) => value > 0));
  }
  t.is((await golden.session.timeCopy({ bytes: 2 ** 16, repeats: 3 })).length, 3);
  await t.throwsAsync(
    golden.session.timeProduct({ product: "forward", m: 0, k: 5, n: 7, dtype: "float32", repeats: 1 }),
    { code: "ERR_CONFIG" },
  );
});
