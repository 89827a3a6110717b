import test from "ava";
import { expectedGradient, get, goldenModels, openGolden, relativeError } from "../helpers/golden.js";

const tolerance = 2e-5;

for (const name of goldenModels) {
  test(`${name}: logits, loss and hidden states equal transformers'`, async (t) => {
    await using model = await openGolden(name);
    const { session, batch, expected, shape } = model;
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

  test(`${name}: the gradient of every parameter equals transformers'`, async (t) => {
    await using model = await openGolden(name);
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
