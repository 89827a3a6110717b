import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { toCheckpointName } from "#src/models/key-map.js";
import { openSafetensors } from "#src/models/safetensors.js";
import { composePlan } from "#src/methods/plan.js";
import { llrd } from "#src/methods/llrd.js";
import { reinit } from "#src/methods/reinit.js";
import { goldenFolder, goldenModels, openGolden } from "../helpers/golden.js";
import { plainPlan, stepOptions } from "../helpers/plan.js";

for (const name of goldenModels) {
  test(`${name}: the parameters are exactly the tensors that transformers saves`, async (t) => {
    await using model = await openGolden(name);
    await using file = await openSafetensors(join(goldenFolder, name, "model.safetensors"));
    const ours = model.session.parameters.map((parameter) => toCheckpointName(model.shape.family, parameter.name));
    t.deepEqual(ours.sort(), [...file.tensors.keys()].sort());
  });

  test(`${name}: blocks are numbered from the embeddings up, and the head stands outside`, async (t) => {
    await using model = await openGolden(name);
    const { layers, decoder } = model.shape;
    const blocks = new Set(model.session.parameters.map(({ block }) => block));
    blocks.delete(null);
    t.deepEqual(
      [...blocks],
      Array.from({ length: layers + (decoder?.layers ?? 0) }, (_, block) => block),
    );
    const head = model.session.parameters.filter(({ role }) => role === "pooler" || role === "classifier");
    t.true(head.length === 4 && head.every(({ block }) => block === null));
  });

  test(`${name}: Re-init of the top block draws it anew and nothing below it`, async (t) => {
    await using model = await openGolden(name);
    const { session, shape } = model;
    const before = new Map<string, Float32Array>();
    for (const parameter of session.parameters) {
      before.set(parameter.name, await session.readParameter(parameter.name));
    }
    const top = shape.layers + (shape.decoder?.layers ?? 0) - 1;
    await session.setPlan(composePlan(session.parameters, [reinit(1, 0.02)]), { initSeed: 1, keepStart: false });
    for (const { name: parameter, role, kind, block } of session.parameters) {
      const after = await session.readParameter(parameter);
      const fresh = block === top || role === "pooler";
      if (!fresh) t.deepEqual(after, before.get(parameter), parameter);
      else if (kind === "bias")
        t.true(
          after.every((value) => value === 0),
          parameter,
        );
      else if (role === "layerNorm")
        t.true(
          after.every((value) => value === 1),
          parameter,
        );
      else t.notDeepEqual(after, before.get(parameter), parameter);
    }
  });

  test(`${name}: the loss falls in twenty steps with dropout and layer-wise rates`, async (t) => {
    await using model = await openGolden(name);
    const { session, batch } = model;
    await session.setPlan(composePlan(session.parameters, [llrd(0.9)]), { initSeed: 1, keepStart: false });
    const first = (await session.forward(batch)).loss!;
    for (let step = 1; step <= 20; step++) await session.train([batch], stepOptions({ step, learningRate: 5e-3 }));
    const last = (await session.forward(batch)).loss!;
    t.true(last < first / 2, `${first} to ${last}`);
  });
}

test("rows of one token and of all positions go through every family", async (t) => {
  for (const name of goldenModels) {
    await using model = await openGolden(name);
    const { session, shape } = model;
    const longest = Math.min(shape.maxPositions, 200);
    const tokens = longest + 1;
    await session.setPlan(plainPlan(session.parameters), { initSeed: 1, keepStart: false });
    const { loss, finite } = await session.train(
      [
        {
          tokenIds: Int32Array.from({ length: tokens }, (_, i) => (i * 31) % shape.vocabularySize),
          segmentIds: new Int32Array(tokens),
          rowOffsets: Int32Array.of(0, 1, tokens),
          rowNumbers: Int32Array.of(7, 3),
          labels: shape.problem === "regression" ? Float32Array.of(0.5, 1) : Int32Array.of(0, 1),
        },
      ],
      stepOptions(),
    );
    t.true(finite && Number.isFinite(loss), name);
  }
});

test("the decoder reads the row behind its start token: BART's answer changes with the start token's embedding", async (t) => {
  await using model = await openGolden("bart-classification");
  const { session, shape, batch } = model;
  const config = JSON.parse(await readFile(join(goldenFolder, "bart-classification/config.json"), "utf8")) as {
    decoder_start_token_id: number;
  };
  t.is(shape.decoder?.startId, config.decoder_start_token_id);
  // Rows without the start token: only the decoder sees its embedding.
  const without = { ...batch, tokenIds: batch.tokenIds.map((id) => (id === shape.decoder?.startId ? 5 : id)) };
  const before = (await session.forward(without)).logits;
  const table = await session.readParameter("embeddings.word.weight");
  table.fill(1, shape.decoder!.startId * shape.hiddenSize, (shape.decoder!.startId + 1) * shape.hiddenSize);
  await session.load({ "embeddings.word.weight": { dtype: "float32", data: new Uint8Array(table.buffer) } });
  t.notDeepEqual((await session.forward(without)).logits, before);
});
