import type { Family } from "../native/types.js";

/** How one family of encoders names its tensors in a checkpoint. A further family is a further table. */
export interface KeyMap {
  /** transformers' class with a head for sequence classification. */
  architecture: string;
  /** Stands before the encoder's names in a model with a head; a bare encoder's checkpoint lacks it. */
  prefix: string;
  /** Our name and the checkpoint's, `{i}` being the block; each stands for a `.weight` and, where there is one, a `.bias`. */
  encoder: readonly (readonly [ours: string, theirs: string])[];
  /** The same for what stands outside the encoder, without the prefix. */
  head: readonly (readonly [ours: string, theirs: string])[];
  /** Tensors that a checkpoint may hold and that fine-tuning has no use for, without the prefix. */
  ignored: readonly RegExp[];
}

const keyMaps: Record<Family, KeyMap> = {
  bert: {
    architecture: "BertForSequenceClassification",
    prefix: "bert.",
    encoder: [
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
      ["pooler", "pooler.dense"],
    ],
    head: [["classifier", "classifier"]],
    // The heads of masked words and of the next sentence, and a constant that older versions of transformers stored.
    ignored: [/^cls\./, /^embeddings\.position_ids$/],
  },
};

export function keyMap(family: Family): KeyMap {
  return keyMaps[family];
}

/**
 * The checkpoint's name of one of our parameters, as transformers writes it today.
 *
 * @throws RangeError for a name that the family does not have.
 */
export function toCheckpointName(family: Family, name: string): string {
  const { prefix, encoder, head } = keyMaps[family];
  const inEncoder = translate(name, encoder);
  if (inEncoder !== null) return prefix + inEncoder;
  const inHead = translate(name, head);
  if (inHead !== null) return inHead;
  throw new RangeError(`${family} has no parameter ${name}`);
}

/**
 * Our name of a tensor in a checkpoint, with or without the prefix, in today's spelling or in the first one
 * (`LayerNorm.gamma` and `LayerNorm.beta`); "ignored" for what fine-tuning has no use for; null for an unknown name.
 */
export function fromCheckpointName(family: Family, name: string): string | "ignored" | null {
  const { prefix, encoder, head, ignored } = keyMaps[family];
  const bare = name.startsWith(prefix) ? name.slice(prefix.length) : name;
  if (ignored.some((pattern) => pattern.test(bare))) return "ignored";
  const modern = bare
    .replace(/\bLayerNorm\.gamma$/, "LayerNorm.weight")
    .replace(/\bLayerNorm\.beta$/, "LayerNorm.bias");
  return translate(modern, encoder.map(swap)) ?? translate(name, head.map(swap));
}

function swap([ours, theirs]: readonly [string, string]): readonly [string, string] {
  return [theirs, ours];
}

/** Applies a table to "some.name.weight" or "some.name.bias"; null when no row of it fits. */
function translate(name: string, table: readonly (readonly [from: string, to: string])[]): string | null {
  const parts = /^(.+)\.(weight|bias)$/.exec(name);
  if (!parts) return null;
  const [, stem = "", kind = ""] = parts;
  const block = /(?<=\.)(0|[1-9][0-9]*)(?=\.)/.exec(stem)?.[0];
  const pattern = block === undefined ? stem : stem.replace(`.${block}.`, ".{i}.");
  if (pattern.includes("{i}") !== (block !== undefined)) return null;
  const row = table.find(([from]) => from === pattern);
  if (!row) return null;
  return `${block === undefined ? row[1] : row[1].replace("{i}", block)}.${kind}`;
}
