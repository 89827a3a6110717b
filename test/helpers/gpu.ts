import { createSession, type Session } from "#src/native/session.js";
import type { ComputeDtype, EncoderShape, PackedBatch } from "#src/native/types.js";
import { plainPlan } from "./plan.js";

/** Small, and with heads of the size that BERT's have. */
export const gpuShape: EncoderShape = {
  family: "bert",
  vocabularySize: 2000,
  embeddingSize: 256,
  hiddenSize: 256,
  layers: 3,
  heads: 4,
  intermediateSize: 1024,
  decoder: null,
  maxPositions: 128,
  positionOffset: 0,
  segmentTypes: 2,
  embeddingScale: 1,
  layerNormEps: 1e-12,
  activation: "gelu",
  hiddenDropout: 0.1,
  attentionDropout: 0.1,
  activationDropout: 0,
  classifierDropout: 0.1,
  outputs: 2,
  problem: "classification",
};

/** A session with the same random weights on every device. */
export async function randomSession(
  device: "cpu" | "cuda",
  { shape = gpuShape, dtype = "float32" }: { shape?: EncoderShape; dtype?: ComputeDtype } = {},
): Promise<Session> {
  const session = createSession(shape, { device, dtype, threads: 2 });
  const bytes = (values: Float32Array) => new Uint8Array(values.buffer);
  let seed = 1;
  for (const { name, shape, kind, role } of session.parameters) {
    const size = shape.reduce((product, length) => product * length, 1);
    const values = new Float32Array(size);
    const around = role === "layerNorm" && kind === "weight" ? 1 : 0;
    for (let i = 0; i < size; i++) {
      // A linear congruential generator: any numbers do, as long as they are the same.
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      values[i] = around + (seed / 2 ** 32 - 0.5) * 0.07;
    }
    await session.load({ [name]: { dtype: "float32", data: bytes(values) } });
  }
  await session.setPlan(plainPlan(session.parameters), { initSeed: 0, keepStart: false });
  return session;
}

/** Rows of these lengths; `seed` changes the words and the numbers of the rows. */
export function batchOf(shape: EncoderShape, lengths: readonly number[], seed: number): PackedBatch {
  const offsets = [0];
  for (const length of lengths) offsets.push(offsets.at(-1)! + length);
  const tokens = offsets.at(-1)!;
  return {
    tokenIds: Int32Array.from({ length: tokens }, (_, i) => (i * 7919 + seed * 104729) % shape.vocabularySize),
    segmentIds: Int32Array.from({ length: tokens }, (_, i) => (shape.segmentTypes > 1 ? i % 2 : 0)),
    rowOffsets: Int32Array.from(offsets),
    rowNumbers: Int32Array.from(lengths, (_, row) => row * 11 + seed * 97),
    labels: Int32Array.from(lengths, (_, row) => (row + seed) % 2),
  };
}

/** Lengths with this sum, none alike but for chance, all below 100. */
export function lengthsOf(tokens: number, rows: number, seed: number): number[] {
  const weights = Array.from({ length: rows }, (_, row) => 20 + ((row * 37 + seed * 53) % 61));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const lengths = weights.map((weight) => Math.max(1, Math.floor((weight * tokens) / sum)));
  lengths[0]! += tokens - lengths.reduce((total, length) => total + length, 0);
  return lengths;
}
