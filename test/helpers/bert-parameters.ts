import type { ParameterInfo, ParameterRole } from "#src/native/types.js";

/** The parameters of a small BERT, without the addon. Shapes: hidden 4, intermediate 8, 10 words, 3 labels. */
export function bertParameters(layers: number): ParameterInfo[] {
  const list: ParameterInfo[] = [];
  const add = (name: string, role: ParameterRole, block: number | null, shape: number[]) => {
    list.push({ name: `${name}.weight`, shape, role, kind: "weight", block });
    if (role !== "embedding") list.push({ name: `${name}.bias`, shape: [shape[0] ?? 1], role, kind: "bias", block });
  };
  add("embeddings.word", "embedding", null, [10, 4]);
  add("embeddings.position", "embedding", null, [16, 4]);
  add("embeddings.segment", "embedding", null, [2, 4]);
  add("embeddings.norm", "layerNorm", null, [4]);
  for (let i = 0; i < layers; i++) {
    for (const part of ["query", "key", "value", "output"]) {
      add(`blocks.${i}.attention.${part}`, "attention", i, [4, 4]);
    }
    add(`blocks.${i}.attention.norm`, "layerNorm", i, [4]);
    add(`blocks.${i}.ffn.intermediate`, "ffn", i, [8, 4]);
    add(`blocks.${i}.ffn.output`, "ffn", i, [4, 8]);
    add(`blocks.${i}.ffn.norm`, "layerNorm", i, [4]);
  }
  add("pooler", "pooler", null, [4, 4]);
  add("classifier", "classifier", null, [3, 4]);
  return list;
}
