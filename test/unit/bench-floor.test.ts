import test from "ava";
import type { EncoderShape, ParameterInfo } from "#src/native/types.js";

interface Floor {
  forwardFlop: (shape: EncoderShape, rowLengths: ArrayLike<number>) => number;
  trainingFlop: (shape: EncoderShape, rowLengths: ArrayLike<number>) => number;
  adamwBytes: (elements: number) => number;
  floorMs: (work: { flop: number; bytes: number }, rates: { flopPerSecond: number; bytesPerSecond: number }) => number;
  movedElements: (parameters: Pick<ParameterInfo, "name" | "shape">[], words: number) => number;
}

const floor = (await import(new URL("../../scripts/bench/floor.mjs", import.meta.url).href)) as Floor;

const shape: EncoderShape = {
  family: "bert",
  vocabularySize: 100,
  embeddingSize: 4,
  hiddenSize: 4,
  layers: 2,
  heads: 2,
  intermediateSize: 8,
  decoder: null,
  maxPositions: 16,
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
};

/** 5 tokens in 2 rows; 2 * 2 + 3 * 3 = 13 pairs of tokens that see each other. */
const rows = [2, 3];

test("arithmetic of a forward pass: the first block for all tokens, the last for what the head reads, and the head", (t) => {
  const first = 2 * 5 * 4 * 12 + 4 * 13 * 4 + 2 * 5 * 4 * 4 + 2 * (2 * 5 * 4 * 8);
  t.is(first, 480 + 208 + 160 + 640);
  const keysAndValues = 2 * 5 * 4 * 8;
  const summaryTokens = 2 * 2 * 4 * 4 + 4 * 5 * 4 + 2 * 2 * 4 * 4 + 2 * (2 * 2 * 4 * 8);
  t.is(keysAndValues + summaryTokens, 320 + 464);
  const head = 2 * 2 * 4 * 4 + 2 * 2 * 4 * 3;
  t.is(head, 112);
  t.is(floor.forwardFlop(shape, rows), 1488 + 784 + 112);
});

test("a backward pass is two forward passes, and padding is nobody's work", (t) => {
  t.is(floor.trainingFlop(shape, rows), 3 * 2384);
  t.is(floor.trainingFlop(shape, Int32Array.of(3, 2)), 3 * 2384);
});

test("a narrower embedding costs its projection", (t) => {
  t.is(floor.forwardFlop({ ...shape, embeddingSize: 2 }, rows), 2384 + 2 * 5 * 2 * 4);
});

test("a family whose block is another one is refused", (t) => {
  t.throws(() => floor.forwardFlop({ ...shape, family: "xlnet" }, rows), { message: /xlnet/ });
});

test("AdamW moves 28 bytes an element, 30 with the bfloat16 copy, and only the words that were seen", (t) => {
  t.is(floor.adamwBytes(10), 280);
  const parameters = [
    { name: "embeddings.word.weight", shape: [100, 4] },
    { name: "embeddings.position.weight", shape: [16, 4] },
    { name: "embeddings.norm.weight", shape: [4] },
  ];
  t.is(floor.movedElements(parameters, 7), 7 * 4 + 16 * 4 + 4);
});

test("the floor is the time of the arithmetic and the time of the traffic, one after the other", (t) => {
  t.is(floor.floorMs({ flop: 6e9, bytes: 3e7 }, { flopPerSecond: 2e12, bytesPerSecond: 1e10 }), 3 + 3);
});
