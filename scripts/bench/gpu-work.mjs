// What bench:gpu computes: shapes of encoders, lengths of rows as the tasks have them, and the work that these need.

export const batchSize = 32;

const bert = {
  family: "bert",
  vocabularySize: 30522,
  decoder: null,
  maxPositions: 512,
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

export const encoderShapes = {
  base: { ...bert, embeddingSize: 768, hiddenSize: 768, layers: 12, heads: 12, intermediateSize: 3072 },
  // To try the benchmark itself, with --device cpu.
  tiny: { ...bert, embeddingSize: 64, hiddenSize: 64, layers: 2, heads: 2, intermediateSize: 128 },
  large: { ...bert, embeddingSize: 1024, hiddenSize: 1024, layers: 24, heads: 16, intermediateSize: 4096 },
};

/** Tokens of a row with BERT's uncased words, cut at 128: mean and spread of the logarithm, longest and shortest. */
export const taskLengths = {
  RTE: { mean: 64, spread: 0.5, least: 18, most: 128 },
  MRPC: { mean: 53, spread: 0.26, least: 23, most: 103 },
  "STS-B": { mean: 31, spread: 0.45, least: 14, most: 125 },
  CoLA: { mean: 11.3, spread: 0.36, least: 4, most: 47 },
};

/** Lengths of `steps` batches: the same at every call, spread as the task's are, in a random order. */
export function stepLengths(task, steps) {
  const { mean, spread, least, most } = taskLengths[task];
  const count = steps * batchSize;
  const all = Array.from({ length: count }, (_, i) => {
    const length = Math.exp(Math.log(mean) - spread ** 2 / 2 + spread * normalQuantile((i + 0.5) / count));
    return Math.min(most, Math.max(least, Math.round(length)));
  });
  // A linear congruential generator and the shuffle of Fisher and Yates: batches as uneven as those of real rows.
  let state = 1;
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [all[i], all[j]] = [all[j], all[i]];
  }
  return Array.from({ length: steps }, (_, step) => all.slice(step * batchSize, (step + 1) * batchSize));
}

/** Inverse of the normal distribution function by bisection on a series for it: exact enough for whole tokens. */
function normalQuantile(p) {
  let [low, high] = [-6, 6];
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (normalShare(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

function normalShare(x) {
  let [term, sum] = [x, x];
  for (let k = 1; k < 120; k++) {
    term *= -(x * x) / (2 * k);
    sum += term / (2 * k + 1);
  }
  return 0.5 + sum / Math.sqrt(2 * Math.PI);
}
