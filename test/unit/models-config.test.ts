import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { CheckpointError } from "#src/errors.js";
import { readModelConfig, type ModelConfig } from "#src/models/config.js";
import { goldenCheckpoint } from "../helpers/checkpoint.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const small = {
  model_type: "bert",
  vocab_size: 97,
  hidden_size: 32,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  intermediate_size: 64,
};

async function configFolder(t: ExecutionContext, config: unknown): Promise<string> {
  const folder = temporaryFolder(t);
  await writeFile(join(folder, "config.json"), typeof config === "string" ? config : JSON.stringify(config));
  return folder;
}

async function read(t: ExecutionContext, change: object): Promise<ModelConfig> {
  return readModelConfig(await configFolder(t, { ...small, ...change }));
}

async function refused(t: ExecutionContext, config: unknown): Promise<{ message: string; hint: string | undefined }> {
  const folder = await configFolder(t, config);
  const error = await t.throwsAsync(readModelConfig(folder), { instanceOf: CheckpointError });
  t.true(error.message.startsWith(join(folder, "config.json")));
  return error;
}

test("transformers' own config.json gives the shape, the labels and the spread of new weights", async (t) => {
  const config = await readModelConfig(goldenCheckpoint("bert-classification"));
  t.deepEqual(config.shape, {
    family: "bert",
    vocabularySize: 97,
    embeddingSize: 32,
    hiddenSize: 32,
    layers: 4,
    heads: 4,
    intermediateSize: 64,
    decoder: null,
    maxPositions: 64,
    positionOffset: 0,
    segmentTypes: 2,
    embeddingScale: 1,
    layerNormEps: 1e-12,
    activation: "gelu",
    hiddenDropout: 0.1,
    attentionDropout: 0.1,
    activationDropout: 0,
    classifierDropout: 0.1,
    outputs: 3,
    problem: "classification",
  });
  t.deepEqual(config.labels, ["LABEL_0", "LABEL_1", "LABEL_2"]);
  t.is(config.initializerRange, 0.02);
});

test("problem_type regression, or a single label, is regression and has no class names", async (t) => {
  const { shape, labels } = await readModelConfig(goldenCheckpoint("bert-regression"));
  t.like(shape, { outputs: 1, problem: "regression" });
  t.is(labels, null);
  t.like((await read(t, { num_labels: 1 })).shape, { outputs: 1, problem: "regression" });
});

test("what a file leaves out is what transformers takes", async (t) => {
  const { shape, labels } = await read(t, { hidden_dropout_prob: 0.3 });
  t.like(shape, { maxPositions: 512, segmentTypes: 2, layerNormEps: 1e-12, activation: "gelu", outputs: 2 });
  t.like(shape, { hiddenDropout: 0.3, attentionDropout: 0.1, classifierDropout: 0.3 });
  t.is(labels, null);
});

test("labels come in the order of their indices, not of the file", async (t) => {
  const many = Object.fromEntries(Array.from({ length: 11 }, (_, index) => [String(10 - index), `name ${10 - index}`]));
  const { labels } = await read(t, { id2label: many });
  t.deepEqual(
    labels,
    Array.from({ length: 11 }, (_, index) => `name ${index}`),
  );
});

test("transformers' names of activations are known", async (t) => {
  const names = { gelu: "gelu", gelu_new: "gelu_tanh", gelu_pytorch_tanh: "gelu_tanh", relu: "relu" } as const;
  for (const [name, activation] of Object.entries(names)) {
    t.is((await read(t, { hidden_act: name })).shape.activation, activation);
  }
  const { message, hint } = await refused(t, { ...small, hidden_act: "swish" });
  t.regex(message, /the activation "swish" \(hidden_act\) is not supported/);
  t.regex(hint ?? "", /gelu, .*relu/);
});

test("another kind of model is refused with the kinds that are supported", async (t) => {
  const { message, hint } = await refused(t, { ...small, model_type: "llama" });
  t.regex(message, /has the model_type "llama", which is not supported/);
  t.is(hint, "Supported: bert, roberta, xlm-roberta, electra, distilbert, xlnet, bart.");
  t.regex((await refused(t, { ...small, model_type: undefined })).message, /names no model_type/);
  t.regex((await refused(t, { ...small, model_type: "constructor" })).message, /"constructor", which is not supported/);
});

test("a missing or impossible number is refused by its key", async (t) => {
  t.regex((await refused(t, { ...small, hidden_size: undefined })).message, /lacks hidden_size/);
  for (const [key, value] of [
    ["vocab_size", 0],
    ["vocab_size", 97.5],
    ["vocab_size", "97"],
    ["vocab_size", 1e12],
    ["num_hidden_layers", -1],
    ["num_hidden_layers", 5000],
    ["hidden_dropout_prob", 1],
    ["attention_probs_dropout_prob", -0.1],
    ["classifier_dropout", "0.1"],
    ["layer_norm_eps", 0],
    ["num_labels", 0],
  ] as const) {
    t.regex(
      (await refused(t, { ...small, [key]: value })).message,
      new RegExp(`: ${key} is ${JSON.stringify(value)}, which`),
    );
  }
  const message = /hidden_size 32 is not a multiple of num_attention_heads 5/;
  t.regex((await refused(t, { ...small, num_attention_heads: 5 })).message, message);
});

test("labels that contradict each other are refused", async (t) => {
  const gap = { ...small, id2label: { 0: "a", 2: "b" } };
  t.regex((await refused(t, gap)).message, /id2label does not give a name for each of the indices/);
  const count = { ...small, id2label: { 0: "a", 1: "b" }, num_labels: 3 };
  t.regex((await refused(t, count)).message, /num_labels is 3, but id2label names 2 labels/);
});

test("problems and encoders of kinds that are not computed are refused", async (t) => {
  const multi = { ...small, problem_type: "multi_label_classification" };
  t.regex((await refused(t, multi)).message, /the problem_type "multi_label_classification" is not supported/);
  const vector = { ...small, problem_type: "regression", num_labels: 2 };
  t.regex((await refused(t, vector)).message, /regression on 2 values at once/);
  t.regex(
    (await refused(t, { ...small, position_embedding_type: "relative_key" })).message,
    /"relative_key" is not supported/,
  );
  t.regex((await refused(t, { ...small, is_decoder: true })).message, /a decoder \(is_decoder\)/);
});

test("a file that is not a JSON object, or says something twice, is refused", async (t) => {
  t.regex((await refused(t, "{")).message, /is not JSON: /);
  t.regex((await refused(t, "[1]")).message, /is not a JSON object/);
  t.regex((await refused(t, '{"vocab_size": 1, "vocab_size": 2}')).message, /the key "vocab_size" stands there twice/);
});

test("a missing folder and a folder without config.json are told apart", async (t) => {
  const folder = temporaryFolder(t);
  await t.throwsAsync(readModelConfig(join(folder, "none")), { message: /The model folder .*none does not exist/ });
  await t.throwsAsync(readModelConfig(folder), { message: /config\.json cannot be read: there is no such file/ });
});

test("each family's own keys give its shape", async (t) => {
  const shapes = {
    roberta: { family: "roberta", maxPositions: 64, positionOffset: 2, segmentTypes: 1, layerNormEps: 1e-5 },
    electra: { family: "electra", embeddingSize: 16, hiddenSize: 32, segmentTypes: 2 },
    distilbert: { family: "distilbert", hiddenSize: 32, layers: 3, segmentTypes: 0, classifierDropout: 0.2 },
    xlnet: { family: "xlnet", hiddenSize: 32, intermediateSize: 64, activationDropout: 0.1, attentionDropout: 0.1 },
    bart: {
      family: "bart",
      layers: 2,
      decoder: { layers: 3, heads: 4, intermediateSize: 48, startId: 2 },
      positionOffset: 2,
      maxPositions: 64,
      layerNormEps: 1e-5,
      attentionDropout: 0,
      classifierDropout: 0,
    },
  };
  for (const [name, shape] of Object.entries(shapes)) {
    t.like((await readModelConfig(goldenCheckpoint(`${name}-classification`))).shape, shape, name);
  }
});

test("XLM-R is read as RoBERTa and keeps its own class", async (t) => {
  const config = await read(t, { model_type: "xlm-roberta", pad_token_id: 1, max_position_embeddings: 514 });
  t.like(config.shape, { family: "roberta", maxPositions: 512, positionOffset: 2 });
  t.is(config.type.architecture, "XLMRobertaForSequenceClassification");
});

test("a switch that changes what a family computes is refused by its name", async (t) => {
  const xlnet = { model_type: "xlnet", vocab_size: 97, d_model: 32, n_head: 4, n_layer: 2, d_inner: 64 };
  const bart = {
    model_type: "bart",
    vocab_size: 97,
    d_model: 32,
    encoder_layers: 1,
    decoder_layers: 1,
    encoder_attention_heads: 4,
    decoder_attention_heads: 4,
    encoder_ffn_dim: 64,
    decoder_ffn_dim: 64,
  };
  for (const [config, change] of [
    [xlnet, { attn_type: "uni" }],
    [xlnet, { clamp_len: 5 }],
    [xlnet, { summary_type: "first" }],
    [bart, { normalize_before: true }],
    [bart, { encoder_layerdrop: 0.1 }],
  ] as const) {
    const [key, value] = Object.entries(change)[0]!;
    const { message } = await refused(t, { ...config, ...change });
    t.true(message.includes(`${key} ${JSON.stringify(value)} is not supported`), message);
  }
});
