import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { readModelConfig } from "#src/models/config.js";
import { saveModel } from "#src/models/save.js";
import { loadWeights } from "#src/models/weights.js";
import { createSession, type Session } from "#src/native/session.js";
import type { EncoderShape, PackedBatch } from "#src/native/types.js";
import { loadTokenizer } from "#src/tokenizer/tokenizer.js";
import { outsideData } from "../helpers/data-files.js";
import { goldenFolder, goldenModels, openGolden } from "../helpers/golden.js";
import { plainPlan, stepOptions } from "../helpers/plan.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { runTransformers, stopTransformers, type TransformersRequest } from "../helpers/transformers.js";

test.after.always(stopTransformers);

// The promise: a folder that saveModel wrote is a model for transformers as it is, and computes the same there.

/** DistilBERT and BART take no segments. */
function rowsOf(
  { tokenIds, segmentIds, rowOffsets }: PackedBatch,
  { family }: EncoderShape,
): TransformersRequest["rows"] {
  return [...rowOffsets.slice(1)].map((end, row) => ({
    input_ids: [...tokenIds.subarray(rowOffsets[row], end)],
    ...(family !== "distilbert" &&
      family !== "bart" && { token_type_ids: [...segmentIds.subarray(rowOffsets[row], end)] }),
  }));
}

function packRows(rows: TransformersRequest["rows"]): PackedBatch {
  const offsets = [0];
  for (const row of rows) offsets.push(offsets.at(-1)! + row.input_ids.length);
  return {
    tokenIds: Int32Array.from(rows.flatMap((row) => row.input_ids)),
    segmentIds: Int32Array.from(rows.flatMap((row) => row.token_type_ids ?? row.input_ids.map(() => 0))),
    rowOffsets: Int32Array.from(offsets),
    rowNumbers: Int32Array.from(rows.keys()),
    labels: null,
  };
}

function sameLogits(t: ExecutionContext, ours: Float32Array, theirs: number[][]): void {
  t.is(ours.length, theirs.flat().length);
  const difference = Math.max(...theirs.flat().map((value, index) => Math.abs(value - ours[index]!)));
  t.log(`largest difference of a logit: ${difference.toExponential(1)}`);
  t.true(difference <= 1e-5);
}

/** The folder's model in a float32 session; what the folder lacks gets values that are not all the same. */
async function openSaved(t: ExecutionContext, folder: string): Promise<Session> {
  const config = await readModelConfig(folder);
  const session = createSession(config.shape, { device: "cpu", dtype: "float32", threads: 1 });
  t.teardown(() => session.dispose());
  const { initialised } = await loadWeights(folder, config, session.parameters, (tensors) => session.load(tensors));
  for (const name of initialised) {
    const { shape } = session.parameters.find((parameter) => parameter.name === name)!;
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, index) => Math.sin(index) / 10);
    await session.load({ [name]: { dtype: "float32", data: new Uint8Array(values.buffer) } });
  }
  return session;
}

const labels = ["no", "maybe", 'yes: "ü"'];

const classes = {
  bert: "BertForSequenceClassification",
  roberta: "RobertaForSequenceClassification",
  electra: "ElectraForSequenceClassification",
  distilbert: "DistilBertForSequenceClassification",
  xlnet: "XLNetForSequenceClassification",
  bart: "BartForSequenceClassification",
};

for (const [name, dtype] of [
  ...goldenModels.map((name) => [name, "float32"] as const),
  ["bert-classification", "bfloat16"] as const,
]) {
  test.serial(
    `${name} saved as ${dtype} loads in transformers, complete, with its labels and the same logits`,
    async (t) => {
      t.timeout(180_000);
      await using golden = await openGolden(name);
      const { session, batch, shape } = golden;
      const names = shape.problem === "regression" ? [] : labels;
      // A step of training, so that these are not the weights that transformers itself wrote.
      await session.setPlan(plainPlan(session.parameters), { initSeed: 1, keepStart: false });
      await session.train([batch], stepOptions());
      const folder = join(temporaryFolder(t), "best");
      const config = await readModelConfig(join(goldenFolder, name));
      await saveModel(folder, {
        config,
        labels: names,
        problem: config.shape.problem,
        parameters: session.parameters,
        read: (parameter) => session.readParameter(parameter),
        dtype,
        tokenizerFiles: [],
      });
      const answer = await runTransformers(t, folder, { rows: rowsOf(batch, shape), texts: [] });
      if (answer === null) return;
      t.like(answer, {
        class: classes[shape.family],
        labels: shape.problem === "regression" ? ["LABEL_0"] : names,
        problem: shape.problem === "regression" ? "regression" : "single_label_classification",
        notLoaded: {},
      });
      const saved = dtype === "float32" ? session : await openSaved(t, folder);
      sameLogits(t, (await saved.forward(batch)).logits, answer.logits);
    },
  );
}

const texts: [string, string | null][] = [
  ["A cat sat.", null],
  ["Is it dark?", "It is dark."],
];

async function sameTexts(t: ExecutionContext, source: string): Promise<void> {
  t.timeout(180_000);
  const tokenizer = await loadTokenizer(source);
  const session = await openSaved(t, source);
  const config = await readModelConfig(source);
  const folder = join(temporaryFolder(t), "best");
  await saveModel(folder, {
    config,
    labels: Array.from({ length: config.shape.outputs }, (_, index) => `label ${index}`),
    problem: config.shape.problem,
    parameters: session.parameters,
    read: (parameter) => session.readParameter(parameter),
    dtype: "float32",
    tokenizerFiles: tokenizer.files,
  });
  const rows = texts.map(([text, pair]) => {
    const { tokenIds, segmentIds } = tokenizer.encode(text, pair, 64);
    return { input_ids: [...tokenIds], token_type_ids: [...segmentIds] };
  });
  const answer = await runTransformers(t, folder, { rows, texts });
  if (answer === null) return;
  t.deepEqual(answer.encoded, rows);
  t.deepEqual(answer.notLoaded, {});
  sameLogits(t, (await session.forward(packRows(rows))).logits, answer.logits);
}

test.serial("the tokenizer's files go along: AutoTokenizer gives the ids that training saw", async (t) => {
  const source = join(temporaryFolder(t), "source");
  await using golden = await openGolden("bert-classification");
  const letters = [..."abcdefghijklmnopqrstuvwxyz"];
  const vocabulary = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    ..."?.",
    ...letters,
    ...letters.map((one) => `##${one}`),
  ];
  const filler = Array.from(
    { length: golden.shape.vocabularySize - vocabulary.length },
    (_, index) => `[unused${index}]`,
  );
  await saveModel(source, {
    config: await readModelConfig(join(goldenFolder, "bert-classification")),
    labels: ["a", "b", "c"],
    problem: "classification",
    parameters: golden.session.parameters,
    read: (parameter) => golden.session.readParameter(parameter),
    dtype: "float32",
    tokenizerFiles: [],
  });
  await writeFile(join(source, "vocab.txt"), `${[...vocabulary, ...filler].join("\n")}\n`);
  await writeFile(
    join(source, "tokenizer_config.json"),
    JSON.stringify({ do_lower_case: true, tokenizer_class: "BertTokenizer" }),
  );
  await sameTexts(t, source);
});

test.serial("real weights with their own tokenizer make the round trip", async (t) => {
  const source = outsideData(t, "models/all-minilm-l6");
  if (source !== null) await sameTexts(t, source);
});
