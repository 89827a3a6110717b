import type { Family } from "../native/types.js";

/** Our name and the checkpoint's, `{i}` being the block. */
type Row = readonly [ours: string, theirs: string];

/** How one family of encoders names its tensors in a checkpoint. A further family is a further table. */
export interface KeyMap {
  /** Stands before the encoder's names in a model with a head; a bare encoder's checkpoint lacks it. */
  prefix: string;
  /** Each row stands for a `.weight` and, where there is one, a `.bias`. */
  encoder: readonly Row[];
  /** Whole names, where the two do not go by `.weight` and `.bias`. */
  whole?: readonly Row[];
  /** As `encoder`, for what stands outside of it, without the prefix. */
  head: readonly Row[];
  /** Tensors that a checkpoint may hold and that fine-tuning has no use for, without the prefix. */
  ignored: readonly RegExp[];
  /** Second names of a tensor that is stored once or several times; used where the first is missing. */
  tied?: readonly (readonly [ours: string, theirs: RegExp])[];
}

/** BERT, and those that were written after it. */
const bertEncoder: readonly Row[] = [
  ["embeddings.word", "embeddings.word_embeddings"],
  ["embeddings.position", "embeddings.position_embeddings"],
  ["embeddings.segment", "embeddings.token_type_embeddings"],
  ["embeddings.norm", "embeddings.LayerNorm"],
  ["blocks.{i}.attention.query", "encoder.layer.{i}.attention.self.query"],
  ["blocks.{i}.attention.key", "encoder.layer.{i}.attention.self.key"],
  ["blocks.{i}.attention.value", "encoder.layer.{i}.attention.self.value"],
  ["blocks.{i}.attention.output", "encoder.layer.{i}.attention.output.dense"],
  ["blocks.{i}.attention.norm", "encoder.layer.{i}.attention.output.LayerNorm"],
  ["blocks.{i}.ffn.intermediate", "encoder.layer.{i}.intermediate.dense"],
  ["blocks.{i}.ffn.output", "encoder.layer.{i}.output.dense"],
  ["blocks.{i}.ffn.norm", "encoder.layer.{i}.output.LayerNorm"],
];

/** The two layers of transformers' ClassificationHead. */
const denseHead = (name: string): readonly Row[] => [
  ["classifier.dense", `${name}.dense`],
  ["classifier.output", `${name}.out_proj`],
];

/** A constant that older versions of transformers stored. */
const positionIds = /^embeddings\.position_ids$/;

const bartAttention = (ours: string, theirs: string): Row[] => [
  [`${ours}.query`, `${theirs}.q_proj`],
  [`${ours}.key`, `${theirs}.k_proj`],
  [`${ours}.value`, `${theirs}.v_proj`],
  [`${ours}.output`, `${theirs}.out_proj`],
  [`${ours}.norm`, `${theirs}_layer_norm`],
];

const bartFeedForward = (ours: string, theirs: string): Row[] => [
  [`${ours}.ffn.intermediate`, `${theirs}.fc1`],
  [`${ours}.ffn.output`, `${theirs}.fc2`],
  [`${ours}.ffn.norm`, `${theirs}.final_layer_norm`],
];

const keyMaps: Record<Family, KeyMap> = {
  bert: {
    prefix: "bert.",
    encoder: [...bertEncoder, ["pooler", "pooler.dense"]],
    head: [["classifier", "classifier"]],
    // The heads of masked words and of the next sentence.
    ignored: [/^cls\./, positionIds],
  },
  roberta: {
    prefix: "roberta.",
    encoder: bertEncoder,
    head: denseHead("classifier"),
    // Its classifier does not use the pooler that pre-trained checkpoints hold.
    ignored: [/^lm_head\./, /^pooler\./, positionIds],
  },
  electra: {
    prefix: "electra.",
    encoder: [...bertEncoder, ["embeddings.projection", "embeddings_project"]],
    head: denseHead("classifier"),
    ignored: [/^discriminator_predictions\./, /^generator_(predictions|lm_head)\./, positionIds],
  },
  distilbert: {
    prefix: "distilbert.",
    encoder: [
      ["embeddings.word", "embeddings.word_embeddings"],
      ["embeddings.position", "embeddings.position_embeddings"],
      ["embeddings.norm", "embeddings.LayerNorm"],
      ["blocks.{i}.attention.query", "transformer.layer.{i}.attention.q_lin"],
      ["blocks.{i}.attention.key", "transformer.layer.{i}.attention.k_lin"],
      ["blocks.{i}.attention.value", "transformer.layer.{i}.attention.v_lin"],
      ["blocks.{i}.attention.output", "transformer.layer.{i}.attention.out_lin"],
      ["blocks.{i}.attention.norm", "transformer.layer.{i}.sa_layer_norm"],
      ["blocks.{i}.ffn.intermediate", "transformer.layer.{i}.ffn.lin1"],
      ["blocks.{i}.ffn.output", "transformer.layer.{i}.ffn.lin2"],
      ["blocks.{i}.ffn.norm", "transformer.layer.{i}.output_layer_norm"],
    ],
    head: [
      ["classifier.dense", "pre_classifier"],
      ["classifier.output", "classifier"],
    ],
    ignored: [/^vocab_(transform|layer_norm|projector)\./, positionIds],
  },
  xlnet: {
    prefix: "transformer.",
    encoder: [
      ["embeddings.word", "word_embedding"],
      ["blocks.{i}.attention.norm", "layer.{i}.rel_attn.layer_norm"],
      ["blocks.{i}.ffn.intermediate", "layer.{i}.ff.layer_1"],
      ["blocks.{i}.ffn.output", "layer.{i}.ff.layer_2"],
      ["blocks.{i}.ffn.norm", "layer.{i}.ff.layer_norm"],
    ],
    whole: [
      ["embeddings.mask.weight", "mask_emb"],
      ["blocks.{i}.attention.query.weight", "layer.{i}.rel_attn.q"],
      ["blocks.{i}.attention.key.weight", "layer.{i}.rel_attn.k"],
      ["blocks.{i}.attention.value.weight", "layer.{i}.rel_attn.v"],
      ["blocks.{i}.attention.output.weight", "layer.{i}.rel_attn.o"],
      ["blocks.{i}.attention.relative.weight", "layer.{i}.rel_attn.r"],
      ["blocks.{i}.attention.content.bias", "layer.{i}.rel_attn.r_w_bias"],
      ["blocks.{i}.attention.position.bias", "layer.{i}.rel_attn.r_r_bias"],
      ["blocks.{i}.attention.segment.bias", "layer.{i}.rel_attn.r_s_bias"],
      ["blocks.{i}.attention.segment.weight", "layer.{i}.rel_attn.seg_embed"],
    ],
    head: [
      ["classifier.dense", "sequence_summary.summary"],
      ["classifier.output", "logits_proj"],
    ],
    // The head of the language model.
    ignored: [/^lm_loss\./],
  },
  bart: {
    prefix: "model.",
    encoder: [
      ["embeddings.word", "shared"],
      ["embeddings.position", "encoder.embed_positions"],
      ["embeddings.norm", "encoder.layernorm_embedding"],
      ["embeddings.decoderPosition", "decoder.embed_positions"],
      ["embeddings.decoderNorm", "decoder.layernorm_embedding"],
      ...bartAttention("blocks.{i}.attention", "encoder.layers.{i}.self_attn"),
      ...bartFeedForward("blocks.{i}", "encoder.layers.{i}"),
      ...bartAttention("decoder.{i}.attention", "decoder.layers.{i}.self_attn"),
      ...bartAttention("decoder.{i}.crossAttention", "decoder.layers.{i}.encoder_attn"),
      ...bartFeedForward("decoder.{i}", "decoder.layers.{i}"),
    ],
    head: denseHead("classification_head"),
    ignored: [/^final_logits_bias$/, /^lm_head\./, /^(en|de)coder\.version$/],
    tied: [["embeddings.word.weight", /^(en|de)coder\.embed_tokens\.weight$/]],
  },
};

/**
 * The checkpoint's name of one of our parameters, as transformers writes it today.
 *
 * @throws RangeError for a name that the family does not have.
 */
export function toCheckpointName(family: Family, name: string): string {
  const { prefix, encoder, whole = [], head } = keyMaps[family];
  const inEncoder = translateWhole(name, whole) ?? translate(name, encoder);
  if (inEncoder !== null) return prefix + inEncoder;
  const inHead = translate(name, head);
  if (inHead !== null) return inHead;
  throw new RangeError(`${family} has no parameter ${name}`);
}

/** What one tensor of a checkpoint is to us. */
export type CheckpointName =
  | { kind: "parameter"; ours: string }
  /** A second copy of a parameter, to be read only where the first is missing. */
  | { kind: "tied"; ours: string }
  | { kind: "ignored" }
  | { kind: "unknown" };

/**
 * What a tensor in a checkpoint is, by its name with or without the prefix, in today's spelling or in the first one
 * (`LayerNorm.gamma` and `LayerNorm.beta`).
 */
export function fromCheckpointName(family: Family, name: string): CheckpointName {
  const { prefix, encoder, whole = [], head, ignored, tied = [] } = keyMaps[family];
  const bare = name.startsWith(prefix) ? name.slice(prefix.length) : name;
  if (ignored.some((pattern) => pattern.test(bare))) return { kind: "ignored" };
  const copied = tied.find(([, pattern]) => pattern.test(bare));
  if (copied) return { kind: "tied", ours: copied[0] };
  const modern = bare
    .replace(/\bLayerNorm\.gamma$/, "LayerNorm.weight")
    .replace(/\bLayerNorm\.beta$/, "LayerNorm.bias");
  const ours =
    translateWhole(modern, whole.map(swap)) ?? translate(modern, encoder.map(swap)) ?? translate(name, head.map(swap));
  return ours === null ? { kind: "unknown" } : { kind: "parameter", ours };
}

function swap([ours, theirs]: Row): Row {
  return [theirs, ours];
}

/** Applies a table to "some.name.weight" or "some.name.bias"; null when no row of it fits. */
function translate(name: string, table: readonly (readonly [from: string, to: string])[]): string | null {
  const parts = /^(.+)\.(weight|bias)$/.exec(name);
  if (!parts) return null;
  const [, stem = "", kind = ""] = parts;
  const translated = translateWhole(stem, table);
  return translated === null ? null : `${translated}.${kind}`;
}

/** Applies a table to a whole name; null when no row of it fits. */
function translateWhole(name: string, table: readonly (readonly [from: string, to: string])[]): string | null {
  const block = /(?<=\.)(0|[1-9][0-9]*)(?=\.)/.exec(name)?.[0];
  const pattern = block === undefined ? name : name.replace(`.${block}.`, ".{i}.");
  if (pattern.includes("{i}") !== (block !== undefined)) return null;
  const row = table.find(([from]) => from === pattern);
  if (!row) return null;
  return block === undefined ? row[1] : row[1].replace("{i}", block);
}
