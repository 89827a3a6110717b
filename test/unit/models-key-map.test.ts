import { join } from "node:path";
import test from "ava";
import { fromCheckpointName, toCheckpointName } from "#src/models/key-map.js";
import { readModelConfig } from "#src/models/config.js";
import { openSafetensors } from "#src/models/safetensors.js";
import { goldenCheckpoint } from "../helpers/checkpoint.js";
import { encoderParameters } from "../helpers/encoder-parameters.js";

test("our parameters are exactly the tensors that transformers saves, and the way back leads home", async (t) => {
  for (const name of ["bert-classification", "bert-regression"]) {
    const { shape } = await readModelConfig(goldenCheckpoint(name));
    await using file = await openSafetensors(join(goldenCheckpoint(name), "model.safetensors"));
    const ours = encoderParameters(shape);
    const theirs = ours.map((parameter) => toCheckpointName("bert", parameter.name));
    t.deepEqual([...theirs].sort(), [...file.tensors.keys()].sort());
    t.deepEqual(
      theirs.map((tensor) => fromCheckpointName("bert", tensor)),
      ours.map((parameter) => ({ kind: "parameter", ours: parameter.name })),
    );
  }
});

test("a bare encoder's names and the first spelling of LayerNorm mean the same", (t) => {
  t.like(fromCheckpointName("bert", "embeddings.word_embeddings.weight"), { ours: "embeddings.word.weight" });
  t.like(fromCheckpointName("bert", "bert.embeddings.LayerNorm.gamma"), { ours: "embeddings.norm.weight" });
  t.like(fromCheckpointName("bert", "encoder.layer.11.output.LayerNorm.beta"), { ours: "blocks.11.ffn.norm.bias" });
  t.like(fromCheckpointName("bert", "bert.encoder.layer.0.attention.output.LayerNorm.beta"), {
    ours: "blocks.0.attention.norm.bias",
  });
});

test("heads of pre-training and the stored positions are ignored", (t) => {
  for (const name of [
    "cls.predictions.bias",
    "cls.predictions.transform.LayerNorm.gamma",
    "cls.seq_relationship.weight",
    "bert.embeddings.position_ids",
    "embeddings.position_ids",
  ]) {
    t.is(fromCheckpointName("bert", name).kind, "ignored", name);
  }
});

test("any other name is unknown", (t) => {
  for (const name of [
    "bert.classifier.weight",
    "bert.encoder.layer.x.output.dense.weight",
    "bert.encoder.layer.01.output.dense.weight",
    "bert.encoder.layer.{i}.output.dense.weight",
    "bert.encoder.layer.0.output.dense.gamma",
    "bert.encoder.layer.0.output.dense",
    "bert.bert.pooler.dense.weight",
    "embeddings.word_embeddings.gamma",
    "qa_outputs.weight",
    "clsx.weight",
    "",
  ]) {
    t.is(fromCheckpointName("bert", name).kind, "unknown", name);
  }
});

test("a name that is none of our parameters is a mistake in the program", (t) => {
  t.throws(() => toCheckpointName("bert", "blocks.0.attention.weight"), { instanceOf: RangeError });
});

test("what pre-training leaves behind in the other families is ignored", (t) => {
  for (const [family, name] of [
    ["roberta", "lm_head.dense.weight"],
    ["roberta", "roberta.pooler.dense.weight"],
    ["electra", "discriminator_predictions.dense.weight"],
    ["distilbert", "vocab_transform.weight"],
    ["xlnet", "lm_loss.bias"],
    ["bart", "final_logits_bias"],
  ] as const) {
    t.is(fromCheckpointName(family, name).kind, "ignored", name);
  }
});

test("BART's one word table is known by its second and third name", (t) => {
  t.deepEqual(fromCheckpointName("bart", "model.shared.weight"), { kind: "parameter", ours: "embeddings.word.weight" });
  for (const name of ["model.encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]) {
    t.deepEqual(fromCheckpointName("bart", name), { kind: "tied", ours: "embeddings.word.weight" });
  }
});
