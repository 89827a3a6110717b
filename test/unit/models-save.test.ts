import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { CheckpointError, OutputError } from "#src/errors.js";
import { readModelConfig } from "#src/models/config.js";
import { readSafetensors } from "#src/models/safetensors.js";
import { saveModel, toBfloat16, type SaveOptions } from "#src/models/save.js";
import { readWeights } from "#src/models/weights.js";
import { loadTokenizer } from "#src/tokenizer/tokenizer.js";
import { goldenCheckpoint } from "../helpers/checkpoint.js";
import { encoderParameters } from "../helpers/encoder-parameters.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { copiedTokenizer, tokenizerKinds } from "../helpers/tokenizer-folder.js";

/** Options that save a golden checkpoint as it is. */
async function goldenOptions(name: string, change: Partial<SaveOptions> = {}): Promise<SaveOptions> {
  const config = await readModelConfig(goldenCheckpoint(name));
  const parameters = encoderParameters(config.shape);
  const { tensors } = await readWeights(goldenCheckpoint(name), config, parameters);
  return {
    config,
    labels: config.labels ?? [],
    problem: config.shape.problem,
    parameters,
    read: async (parameter) => new Float32Array(tensors[parameter]!.data.slice().buffer),
    dtype: "float32",
    tokenizerFiles: [],
    ...change,
  };
}

async function savedFolder(t: ExecutionContext, options: SaveOptions): Promise<string> {
  const folder = join(temporaryFolder(t), "best");
  await saveModel(folder, options);
  return folder;
}

const configOf = async (folder: string): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as Record<string, unknown>;

test("a checkpoint read and saved is the same file, byte for byte", async (t) => {
  for (const name of ["bert-classification", "bert-regression"]) {
    const folder = await savedFolder(t, await goldenOptions(name));
    const [ours, theirs] = [folder, goldenCheckpoint(name)].map((path) => readFile(join(path, "model.safetensors")));
    t.deepEqual(await ours, await theirs);
  }
});

test("config.json keeps what the model is and says what the head is now", async (t) => {
  const folder = await savedFolder(t, await goldenOptions("bert-classification", { labels: ["no", "maybe", "yes"] }));
  const config = await configOf(folder);
  t.like(config, {
    model_type: "bert",
    hidden_size: 32,
    vocab_size: 97,
    architectures: ["BertForSequenceClassification"],
    id2label: { 0: "no", 1: "maybe", 2: "yes" },
    label2id: { no: 0, maybe: 1, yes: 2 },
    num_labels: 3,
    problem_type: "single_label_classification",
    torch_dtype: "float32",
  });
  t.false("transformers_version" in config || "dtype" in config);
  t.deepEqual((await readModelConfig(folder)).labels, ["no", "maybe", "yes"]);
});

test("regression is saved as one output without class names", async (t) => {
  const folder = await savedFolder(t, await goldenOptions("bert-regression"));
  t.like(await configOf(folder), { problem_type: "regression", num_labels: 1, id2label: { 0: "LABEL_0" } });
  const { shape, labels } = await readModelConfig(folder);
  t.is(shape.problem, "regression");
  t.is(labels, null);
});

test("bfloat16 weights take half the room and differ by rounding only", async (t) => {
  const options = await goldenOptions("bert-classification", { dtype: "bfloat16" });
  const folder = await savedFolder(t, options);
  t.like(await configOf(folder), { torch_dtype: "bfloat16" });
  // golden/bert-bf16 holds the same weights as PyTorch rounds them.
  const { tensors } = await readSafetensors(join(folder, "model.safetensors"));
  t.deepEqual(tensors, (await readSafetensors(join(goldenCheckpoint("bert-bf16"), "model.safetensors"))).tensors);
});

test("rounding to bfloat16 is to nearest with ties to even, and keeps NaN and infinity", (t) => {
  const words = Uint32Array.of(
    0x3f800000,
    0x3f807fff,
    0x3f808000,
    0x3f808001,
    0x3f818000,
    0x7f800000,
    0x7f7fffff,
    0x7f800001,
    0xffffffff,
  );
  t.deepEqual(
    [...toBfloat16(new Float32Array(words.buffer))],
    [0x3f80, 0x3f80, 0x3f80, 0x3f81, 0x3f82, 0x7f80, 0x7f80, 0x7fc0, 0xffff],
  );
});

test("the tokenizer's files and own metadata go along", async (t) => {
  const source = temporaryFolder(t);
  await writeFile(join(source, "vocab.txt"), "[PAD]\n");
  await writeFile(join(source, "tokenizer_config.json"), "{}");
  const tokenizerFiles = ["vocab.txt", "tokenizer_config.json"].map((name) => join(source, name));
  const folder = await savedFolder(
    t,
    await goldenOptions("bert-regression", { tokenizerFiles, metadata: { step: "7" } }),
  );
  t.deepEqual((await readdir(folder)).sort(), [
    "config.json",
    "model.safetensors",
    "tokenizer_config.json",
    "vocab.txt",
  ]);
  t.is(await readFile(join(folder, "vocab.txt"), "utf8"), "[PAD]\n");
  const { metadata } = await readSafetensors(join(folder, "model.safetensors"));
  t.deepEqual(metadata, { format: "pt", step: "7" });
});

test("every kind of tokenizer goes along whole: what was loaded from the model is what its copy gives", async (t) => {
  for (const kind of [...tokenizerKinds, "roberta-files"]) {
    const source = await copiedTokenizer(t, kind, { "added_tokens.json": {}, "spiece.model": "\xff" });
    const tokenizer = await loadTokenizer(source);
    const folder = await savedFolder(t, await goldenOptions("bert-regression", { tokenizerFiles: tokenizer.files }));
    for (const path of tokenizer.files) t.deepEqual(await readFile(join(folder, basename(path))), await readFile(path));
    const text = "The cat's <mask> parcel é";
    t.deepEqual((await loadTokenizer(folder)).encode(text, "x", 64), tokenizer.encode(text, "x", 64), kind);
  }
});

test("a missing tokenizer file is an error before anything is written", async (t) => {
  const options = await goldenOptions("bert-regression", { tokenizerFiles: ["/none/vocab.txt"] });
  const folder = join(temporaryFolder(t), "best");
  await t.throwsAsync(saveModel(folder, options), {
    instanceOf: CheckpointError,
    message: /\/none\/vocab.txt cannot be read/,
  });
  await t.throwsAsync(stat(folder), { code: "ENOENT" });
});

test("an older model is replaced as a whole; when saving fails half-way it stays", async (t) => {
  const folder = join(temporaryFolder(t), "best");
  await saveModel(folder, await goldenOptions("bert-classification"));
  const read = async (): Promise<Float32Array> => {
    throw new RangeError("gone");
  };
  await t.throwsAsync(saveModel(folder, await goldenOptions("bert-regression", { read })), { instanceOf: RangeError });
  t.is((await readModelConfig(folder)).shape.outputs, 3);
  await saveModel(folder, await goldenOptions("bert-regression"));
  t.is((await readModelConfig(folder)).shape.outputs, 1);
  t.deepEqual(await readdir(join(folder, "..")), ["best"]);
});

test("a folder with anything but a model in it is never replaced", async (t) => {
  const options = await goldenOptions("bert-regression");
  const folder = temporaryFolder(t);
  await mkdir(join(folder, "photos"));
  await t.throwsAsync(saveModel(folder, options), {
    instanceOf: OutputError,
    message: /holds photos, which is no part of a model/,
  });
  t.deepEqual(await readdir(folder), ["photos"]);
  const other = temporaryFolder(t);
  await writeFile(join(other, "thesis.txt"), "");
  await t.throwsAsync(saveModel(other, options), { instanceOf: OutputError, message: /holds thesis.txt/ });
});

test("an output that cannot be written is an OutputError that names it", async (t) => {
  const folder = temporaryFolder(t);
  await writeFile(join(folder, "file"), "");
  const error = await t.throwsAsync(saveModel(join(folder, "file/best"), await goldenOptions("bert-regression")), {
    instanceOf: OutputError,
  });
  t.true(error.message.includes("file/best"));
});

test("a 0.0 of the original config.json stays 0.0, which transformers does not take for 0", async (t) => {
  const options = await goldenOptions("bert-classification");
  const original = join(goldenCheckpoint("bart-classification"), "config.json");
  const bart = await readModelConfig(goldenCheckpoint("bart-classification"));
  const folder = await savedFolder(t, {
    ...options,
    config: { ...options.config, raw: bart.raw, fractions: bart.fractions },
  });
  const spelled = async (path: string) =>
    (await readFile(path, "utf8")).match(/^ {2}"\w+": -?[\d.]+/gm)!.filter((line) => /\.0$|: \d+$/.test(line));
  const kept = (await spelled(original)).filter((line) => !line.includes("num_labels"));
  t.true(kept.includes('  "encoder_layerdrop": 0.0') && kept.includes('  "d_model": 32'));
  const saved = await spelled(join(folder, "config.json"));
  t.deepEqual(saved.filter((line) => !line.includes("num_labels")).sort(), kept.sort());
});
