import test from "ava";
import type { ParameterPlan } from "#src/native/types.js";
import { expectedGradient, get, goldenModels, openGolden, relativeError } from "../helpers/golden.js";
import { plainPlan, stepOptions } from "../helpers/plan.js";

const tolerance = 2e-5;
const engines = ["fused", "reference"] as const;

for (const [name, engine] of goldenModels.flatMap((name) => engines.map((engine) => [name, engine] as const))) {
  test(`${name}, ${engine}: logits, loss and hidden states equal transformers'`, async (t) => {
    await using model = await openGolden(name, "float32", 1, engine);
    const { session, batch, expected, shape } = model;
    // Without hidden states the last block computes the summary tokens alone.
    t.true(relativeError((await session.forward(batch)).logits, get(expected, "logits").values) < tolerance);
    const result = await session.forward(batch, { hiddenStates: true });
    t.true(relativeError(result.logits, get(expected, "logits").values) < tolerance);
    t.true(Math.abs(result.loss! - get(expected, "loss").values[0]!) < tolerance * Math.abs(result.loss!));

    const last = expected.get("last_hidden_state");
    if (!last) return;
    const width = last.shape[1]!;
    const tokens = batch.tokenIds.length;
    const ours = result.hiddenStates!.slice(-tokens * shape.hiddenSize);
    let token = 0;
    for (let row = 0; row < batch.rowNumbers.length; row++) {
      const length = batch.rowOffsets[row + 1]! - batch.rowOffsets[row]!;
      const reference = last.values.subarray(row * width * shape.hiddenSize).subarray(0, length * shape.hiddenSize);
      const actual = ours.subarray(token * shape.hiddenSize, (token + length) * shape.hiddenSize);
      t.true(relativeError(actual, reference) < tolerance, `row ${row}`);
      token += length;
    }
  });

  test(`${name}, ${engine}: the gradient of every parameter equals transformers'`, async (t) => {
    await using model = await openGolden(name, "float32", 1, engine);
    await model.session.gradients(model.batch);
    for (const parameter of model.session.parameters) {
      const gradient = await model.session.readGradient(parameter.name);
      const error = relativeError(gradient, expectedGradient(model, parameter.name) ?? gradient.map(() => 0));
      t.true(error < tolerance, `${parameter.name}: ${error}`);
    }
  });
}

for (const name of goldenModels) {
  test(`${name}: bfloat16 agrees with float32 as far as its eight bits go`, async (t) => {
    await using exact = await openGolden(name, "float32");
    await using rounded = await openGolden(name, "bfloat16");
    const reference = await exact.session.forward(exact.batch);
    const result = await rounded.session.forward(rounded.batch);
    const error = relativeError(result.logits, reference.logits);
    t.true(error < 0.05, `${error}`);
    t.true(error > 1e-6, "the blocks did not run in bfloat16");

    await exact.session.gradients(exact.batch);
    await rounded.session.gradients(rounded.batch);
    for (const name of ["blocks.0.ffn.output.weight", "embeddings.word.weight"]) {
      const gradientError = relativeError(
        await rounded.session.readGradient(name),
        await exact.session.readGradient(name),
      );
      t.true(gradientError < 0.1, `${name}: ${gradientError}`);
    }
  });
}

for (const name of goldenModels) {
  test(`${name}: a row's outputs do not depend on the rows packed with it`, async (t) => {
    await using model = await openGolden(name);
    const { session, batch, shape } = model;
    const together = await session.forward(batch);
    for (let row = 0; row < batch.rowNumbers.length; row++) {
      const begin = batch.rowOffsets[row]!;
      const end = batch.rowOffsets[row + 1]!;
      const alone = await session.forward({
        tokenIds: batch.tokenIds.slice(begin, end),
        segmentIds: batch.segmentIds.slice(begin, end),
        rowOffsets: Int32Array.of(0, end - begin),
        rowNumbers: batch.rowNumbers.slice(row, row + 1),
        labels: null,
      });
      const inPack = together.logits.subarray(row * shape.outputs, (row + 1) * shape.outputs);
      t.true(relativeError(alone.logits, inPack) < 1e-5, `row ${row}`);
      t.is(alone.loss, null);
    }
  });
}

test("words that no batch holds keep their bits and have no moments; decay towards zero alone moves them", async (t) => {
  await using model = await openGolden("bert-classification");
  const { session, batch, shape } = model;
  const word = session.parameters.findIndex(({ name }) => name === "embeddings.word.weight");
  const train = async (changes: Partial<ParameterPlan>) => {
    const plan = plainPlan(session.parameters);
    plan[word] = { ...plan[word]!, ...changes };
    const before = await session.readParameter("embeddings.word.weight");
    await session.setPlan(plan, { initSeed: 0, keepStart: false });
    for (let step = 1; step <= 3; step++) await session.train([batch], stepOptions({ step }));
    const after = await session.readParameter("embeddings.word.weight");
    const moved = new Set(
      [...after.keys()].filter((i) => after[i] !== before[i]).map((i) => Math.floor(i / shape.hiddenSize)),
    );
    return { moved, moment: await session.readBuffer("moment2") };
  };
  const held = new Set(batch.tokenIds);
  t.true(held.size < shape.vocabularySize);
  for (const changes of [{}, { weightDecay: 0.1, decayTowards: "start" as const }]) {
    const { moved, moment } = await train(changes);
    t.deepEqual([...moved].sort(), [...held].sort());
    for (let row = 0; row < shape.vocabularySize; row++) {
      const ofRow = moment.subarray(row * shape.hiddenSize, (row + 1) * shape.hiddenSize);
      t.is(
        ofRow.some((value) => value !== 0),
        held.has(row),
        `word ${row}`,
      );
    }
  }
  t.is((await train({ weightDecay: 0.1 })).moved.size, shape.vocabularySize);
});
