import type { EncoderShape, ParameterInfo, ParameterRole } from "#src/native/types.js";

/** The parameters of a BERT of this shape as a session would list them, without the addon. */
export function encoderParameters(shape: EncoderShape): ParameterInfo[] {
  const { hiddenSize: hidden, intermediateSize: intermediate } = shape;
  const list: ParameterInfo[] = [];
  const add = (name: string, role: ParameterRole, block: number | null, size: number[]): void => {
    list.push({ name: `${name}.weight`, shape: size, role, kind: "weight", block });
    if (role !== "embedding") list.push({ name: `${name}.bias`, shape: size.slice(0, 1), role, kind: "bias", block });
  };
  add("embeddings.word", "embedding", null, [shape.vocabularySize, hidden]);
  add("embeddings.position", "embedding", null, [shape.maxPositions, hidden]);
  add("embeddings.segment", "embedding", null, [shape.segmentTypes, hidden]);
  add("embeddings.norm", "layerNorm", null, [hidden]);
  for (let block = 0; block < shape.layers; block++) {
    for (const part of ["query", "key", "value", "output"]) {
      add(`blocks.${block}.attention.${part}`, "attention", block, [hidden, hidden]);
    }
    add(`blocks.${block}.attention.norm`, "layerNorm", block, [hidden]);
    add(`blocks.${block}.ffn.intermediate`, "ffn", block, [intermediate, hidden]);
    add(`blocks.${block}.ffn.output`, "ffn", block, [hidden, intermediate]);
    add(`blocks.${block}.ffn.norm`, "layerNorm", block, [hidden]);
  }
  add("pooler", "pooler", null, [hidden, hidden]);
  add("classifier", "classifier", null, [shape.outputs, hidden]);
  return list;
}
