import { copyFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { CheckpointError } from "#src/errors.js";
import { readModelConfig, type ModelConfig } from "#src/models/config.js";
import { readSafetensors, writeSafetensors, type Tensor } from "#src/models/safetensors.js";
import { loadWeights, readWeights } from "#src/models/weights.js";
import type { NativeTensor } from "#src/native/types.js";
import { changedCheckpoint, f32, goldenCheckpoint } from "../helpers/checkpoint.js";
import { outsideData } from "../helpers/data-files.js";
import { encoderParameters } from "../helpers/encoder-parameters.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

type Weights = Awaited<ReturnType<typeof readWeights>>;

async function weightsOf(folder: string, change: Partial<ModelConfig["shape"]> = {}): Promise<Weights> {
  const config = await readModelConfig(folder);
  const shape = { ...config.shape, ...change };
  return readWeights(folder, { ...config, shape }, encoderParameters(shape));
}

async function refused(t: ExecutionContext, folder: string): Promise<string> {
  const error = await t.throwsAsync(weightsOf(folder), { instanceOf: CheckpointError });
  return error.message;
}

const head = ["pooler.weight", "pooler.bias", "classifier.weight", "classifier.bias"];

test("every parameter is read under our name with the bytes of the file", async (t) => {
  const { tensors, initialised, ignored } = await weightsOf(goldenCheckpoint("bert-classification"));
  const file = await readSafetensors(join(goldenCheckpoint("bert-classification"), "model.safetensors"));
  t.is(Object.keys(tensors).length, file.tensors.size);
  t.deepEqual(tensors["blocks.2.ffn.norm.bias"], {
    dtype: "float32",
    data: file.tensors.get("bert.encoder.layer.2.output.LayerNorm.bias")!.data,
  });
  t.deepEqual({ initialised, ignored }, { initialised: [], ignored: [] });
});

test("a pytorch_model.bin in the old spelling gives the same weights; its heads of pre-training are ignored", async (t) => {
  const modern = await weightsOf(goldenCheckpoint("bert-classification"));
  const old = await weightsOf(goldenCheckpoint("bert-legacy-bin"));
  t.deepEqual(old.ignored, ["cls.predictions.bias", "cls.seq_relationship.weight"]);
  t.deepEqual(old.initialised, ["classifier.weight", "classifier.bias"]);
  for (const name of old.initialised) delete modern.tensors[name];
  t.deepEqual(old.tensors, modern.tensors);
});

test("BF16 weights keep their type", async (t) => {
  const { tensors } = await weightsOf(goldenCheckpoint("bert-bf16"));
  t.deepEqual(new Set(Object.values(tensors).map(({ dtype }) => dtype)), new Set(["bfloat16"]));
});

test("real F16 weights of a bare encoder are read, and a classifier is drawn anew", async (t) => {
  const folder = outsideData(t, "models/all-minilm-l6");
  if (folder === null) return;
  const { tensors, initialised, notes } = await weightsOf(folder);
  t.is(tensors["embeddings.word.weight"]?.dtype, "float16");
  t.is(tensors["embeddings.word.weight"]?.data.length, 30522 * 384 * 2);
  t.deepEqual(initialised, ["classifier.weight", "classifier.bias"]);
  t.deepEqual(notes, ["Drawn anew, since model.safetensors does not hold them: classifier.weight, classifier.bias."]);
});

test("weights are handed on one at a time", async (t) => {
  const folder = goldenCheckpoint("bert-classification");
  const config = await readModelConfig(folder);
  const parameters = encoderParameters(config.shape);
  const seen: string[] = [];
  await loadWeights(folder, config, parameters, async (tensors: Record<string, NativeTensor>) => {
    t.is(Object.keys(tensors).length, 1);
    seen.push(...Object.keys(tensors));
  });
  t.deepEqual(seen.sort(), parameters.map(({ name }) => name).sort());
});

test("a classifier for another number of labels counts as missing, and that is said", async (t) => {
  const { tensors, initialised, notes } = await weightsOf(goldenCheckpoint("bert-classification"), { outputs: 2 });
  t.deepEqual(initialised, ["classifier.weight", "classifier.bias"]);
  t.false("classifier.weight" in tensors);
  t.is(notes[0], "The checkpoint's classifier has 3 outputs, this task 2: it is not used.");
});

test("a missing pooler and classifier are drawn anew", async (t) => {
  const folder = await changedCheckpoint(t, {
    tensors: (tensors) => {
      for (const name of tensors.keys()) if (/pooler|classifier/.test(name)) tensors.delete(name);
    },
  });
  t.deepEqual((await weightsOf(folder)).initialised, head);
});

test("any other missing tensor is an error that names it", async (t) => {
  for (const name of ["bert.embeddings.LayerNorm.bias", "bert.pooler.dense.bias", "classifier.weight"]) {
    const folder = await changedCheckpoint(t, { tensors: (tensors) => void tensors.delete(name) });
    t.is(await refused(t, folder), `${folder}/model.safetensors lacks the tensor ${name}.`);
  }
});

test("an unknown tensor is an error that names it", async (t) => {
  const folder = await changedCheckpoint(t, { tensors: (tensors) => tensors.set("qa_outputs.bias", f32([1])) });
  t.is(
    await refused(t, folder),
    `${folder}/model.safetensors holds the tensor qa_outputs.bias, which is no part of bert.`,
  );
});

test("the same weight under two names is an error", async (t) => {
  const add = (tensors: Map<string, Tensor>): void => {
    tensors.set("pooler.dense.bias", tensors.get("bert.pooler.dense.bias")!);
  };
  const folder = await changedCheckpoint(t, { tensors: add });
  t.regex(
    await refused(t, folder),
    /holds (bert\.)?pooler.dense.bias and (bert\.)?pooler.dense.bias, which are the same weight/,
  );
});

test("a config that contradicts the weights is an error that names the tensor and the key", async (t) => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ vocab_size: 98 }, /word_embeddings.weight has the shape \[97, 32\], .* needs \[98, 32\] \(vocab_size\)/],
    [{ max_position_embeddings: 65 }, /position_embeddings.weight .* needs \[65, 32\] \(max_position_embeddings\)/],
    [{ type_vocab_size: 1 }, /token_type_embeddings.weight .* needs \[1, 32\] \(type_vocab_size\)/],
    [{ hidden_size: 64 }, /the tensor \S+ has the shape .* needs/],
    [{ intermediate_size: 65 }, /intermediate.dense.\w+ has the shape \[64.*\], .* needs \[65/],
    [{ num_hidden_layers: 5 }, /lacks the tensor bert.encoder.layer.4.\S+: config.json says num_hidden_layers 5/],
    [{ num_hidden_layers: 3 }, /holds the tensor bert.encoder.layer.3.\S+, but config.json says num_hidden_layers 3/],
  ];
  for (const [config, message] of cases) t.regex(await refused(t, await changedCheckpoint(t, { config })), message);
});

test("weights of a type that is not a float are refused", async (t) => {
  const change = (tensors: Map<string, Tensor>): void => {
    const { shape } = tensors.get("bert.pooler.dense.bias")!;
    tensors.set("bert.pooler.dense.bias", { dtype: "I32", shape, data: new Uint8Array(4 * shape[0]!) });
  };
  const folder = await changedCheckpoint(t, { tensors: change });
  t.regex(await refused(t, folder), /the tensor bert.pooler.dense.bias is stored as I32, which is not supported/);
});

for (const [dtype, source, patterns] of [
  ["F32", "bert-classification", { NaN: 0x7fc00000, Infinity: 0xff800000 }],
  ["BF16", "bert-bf16", { NaN: 0x7fc1, Infinity: 0xff80 }],
] as const) {
  test(`NaN and infinity in ${dtype} weights are refused with the tensor's name and place`, async (t) => {
    for (const [kind, bits] of Object.entries(patterns)) {
      const folder = temporaryFolder(t);
      const { tensors } = await readSafetensors(join(goldenCheckpoint(source), "model.safetensors"));
      const { data } = tensors.get("bert.pooler.dense.weight")!;
      if (dtype === "F32") new Uint32Array(data.buffer)[7] = bits;
      else new Uint16Array(data.buffer)[7] = bits;
      await writeSafetensors(join(folder, "model.safetensors"), tensors);
      await copyFile(join(goldenCheckpoint(source), "config.json"), join(folder, "config.json"));
      t.regex(
        await refused(t, folder),
        /the tensor bert.pooler.dense.weight holds NaN or infinity \(element 7\)/,
        kind,
      );
    }
  });
}

/** The golden checkpoint in two files and an index. */
async function sharded(t: ExecutionContext, change: (map: Record<string, string>) => void = () => {}): Promise<string> {
  const folder = await changedCheckpoint(t, {});
  const { tensors } = await readSafetensors(join(folder, "model.safetensors"));
  await rm(join(folder, "model.safetensors"));
  const map: Record<string, string> = {};
  for (const [index, part] of [0, 1].entries()) {
    const file = `model-0000${part + 1}-of-00002.safetensors`;
    const own = new Map([...tensors].filter((_, position) => position % 2 === index));
    await writeSafetensors(join(folder, file), own, { format: "pt" });
    for (const name of own.keys()) map[name] = file;
  }
  change(map);
  await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: map }));
  return folder;
}

test("a checkpoint in several files gives the same weights", async (t) => {
  t.deepEqual(await weightsOf(await sharded(t)), await weightsOf(goldenCheckpoint("bert-classification")));
});

test("an index that does not agree with its files is refused", async (t) => {
  const name = "bert.pooler.dense.bias";
  const gone = await sharded(t, (map) => void delete map[name]);
  t.regex(await refused(t, gone), /holds the tensor bert.pooler.dense.bias, which .*index.json does not say/);
  const moved = await sharded(
    t,
    (map) =>
      (map[name] = map[name]!.includes("00001-")
        ? map[name]!.replace("00001-", "00002-")
        : map[name]!.replace("00002-", "00001-")),
  );
  t.regex(await refused(t, moved), /says that \S+ holds the tensor bert.pooler.dense.bias; it does not/);
  const extra = await sharded(t, (map) => (map["extra"] = "model-00003-of-00002.safetensors"));
  t.regex(await refused(t, extra), /model-00003-of-00002.safetensors cannot be read: it does not exist/);
});

test("an index cannot lead out of the model's folder", async (t) => {
  for (const path of ["../model.safetensors", "/etc/passwd", "..", "a/b"]) {
    const folder = await sharded(t, (map) => (map["bert.pooler.dense.bias"] = path));
    t.regex(await refused(t, folder), /as the file of bert.pooler.dense.bias, which is no file name/);
  }
});

test("an index that is no index is refused", async (t) => {
  for (const text of ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}']) {
    const folder = await sharded(t);
    await writeFile(join(folder, "model.safetensors.index.json"), text);
    t.regex(await refused(t, folder), /index\.json (cannot be read|has no weight_map|gives 1 as the file of a)/);
  }
});

test("a folder without weights says what was looked for, and names weights of other libraries", async (t) => {
  const folder = await changedCheckpoint(t, {});
  await rm(join(folder, "model.safetensors"));
  t.is(await refused(t, folder), `There are no weights in ${folder}.`);
  await writeFile(join(folder, "tf_model.h5"), "x");
  t.regex(await refused(t, folder), /TensorFlow's or Flax's \(tf_model.h5\)/);
});

test("an empty file of weights is refused by name", async (t) => {
  const folder = await changedCheckpoint(t, {});
  await writeFile(join(folder, "model.safetensors"), "");
  t.is(await refused(t, folder), `${folder}/model.safetensors is empty.`);
});
