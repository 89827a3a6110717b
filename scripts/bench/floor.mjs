// The least that a step can take on this machine: the arithmetic that the real tokens need over the rate of matrix
// products, plus AdamW's memory traffic over the rate of copies. docs/benchmarks.md says what is counted and what not.

/** Products of a linear layer's backward pass for each one of its forward pass: dx = dy W and dW = dy^T x. */
const backwardPerForward = 2;

/**
 * Value, gradient and both moments read, value and both moments written, in float32. A bfloat16 gradient saves the two
 * bytes that the bfloat16 copy of the value costs.
 */
const adamwBytesPerElement = 28;

/**
 * Additions and multiplications of a forward pass over rows of these lengths, padding and element-wise work left out.
 * In the last block the head reads one token of each row: there only keys and values are needed for all tokens.
 *
 * @param {object} shape EncoderShape of BERT, RoBERTa, ELECTRA or DistilBERT
 * @param {ArrayLike<number>} rowLengths in tokens
 * @returns {number}
 */
export function forwardFlop(shape, rowLengths) {
  const { hiddenSize: h, embeddingSize: e, intermediateSize: f, layers, outputs } = shape;
  if (shape.decoder !== null || shape.family === "xlnet") {
    throw new Error(`the floor of the family ${shape.family} is not known`);
  }
  const rows = rowLengths.length;
  let tokens = 0;
  let pairs = 0;
  for (let i = 0; i < rows; i++) {
    tokens += rowLengths[i];
    pairs += rowLengths[i] ** 2;
  }
  const linear = (count, inputs, width) => 2 * count * inputs * width;
  // Scores and weighted values.
  const attention = (queriesTimesKeys) => 2 * 2 * queriesTimesKeys * h;
  const network = (count) => linear(count, h, f) + linear(count, f, h);

  const projection = e === h ? 0 : linear(tokens, e, h);
  const block = linear(tokens, h, 3 * h) + attention(pairs) + linear(tokens, h, h) + network(tokens);
  const lastBlock =
    linear(tokens, h, 2 * h) + linear(rows, h, h) + attention(tokens) + linear(rows, h, h) + network(rows);
  const head = linear(rows, h, h) + linear(rows, h, outputs);
  return projection + (layers - 1) * block + lastBlock + head;
}

/**
 * @param {object} shape
 * @param {ArrayLike<number>} rowLengths
 */
export function trainingFlop(shape, rowLengths) {
  return (1 + backwardPerForward) * forwardFlop(shape, rowLengths);
}

/**
 * Bytes that AdamW moves, in either dtype.
 *
 * @param {number} elements parameters without the words that no batch has held
 */
export function adamwBytes(elements) {
  return elements * adamwBytesPerElement;
}

/**
 * @param {{ flop: number, bytes: number }} work
 * @param {{ flopPerSecond: number, bytesPerSecond: number }} rates
 * @returns {number} milliseconds
 */
export function floorMs({ flop, bytes }, { flopPerSecond, bytesPerSecond }) {
  return 1000 * (flop / flopPerSecond + bytes / bytesPerSecond);
}

/** Parameters that a step moves once `words` of the vocabulary's words have been in a batch, in training without decay. */
export function movedElements(parameters, words) {
  return parameters.reduce((sum, { name, shape: [rows, ...columns] }) => {
    const count = name === "embeddings.word.weight" ? words : rows;
    return sum + columns.reduce((a, b) => a * b, count);
  }, 0);
}
