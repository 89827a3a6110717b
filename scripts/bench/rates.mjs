// What the machine does at best, measured through a session on its threads.

/** Copies from what a cache holds to what only memory does; in bytes read plus written. */
export const copySizes = [2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24, 2 ** 26, 2 ** 28];

const largeSide = 2048;

/**
 * The rate of matrix products of one dtype at the model's own shapes: every linear layer of a block, over as many
 * tokens as a batch has.
 *
 * @returns {Promise<{ forward: number, training: number, large: number }>} FLOP per second: of the forward products,
 *   of all three kinds together, and of one large square product
 */
export async function matrixRates(session, shape, { tokens, dtype, repeats = 5 }) {
  const { hiddenSize: h, intermediateSize: f } = shape;
  const layers = [
    { inputs: h, outputs: 3 * h },
    { inputs: h, outputs: h },
    { inputs: h, outputs: f },
    { inputs: f, outputs: h },
  ];
  const seconds = { forward: 0, training: 0 };
  let flop = 0;
  for (const { inputs, outputs } of layers) {
    flop += 2 * tokens * inputs * outputs;
    for (const [product, m, k, n] of [
      ["forward", tokens, inputs, outputs],
      ["gradInput", tokens, outputs, inputs],
      ["gradWeight", outputs, tokens, inputs],
    ]) {
      const taken = median(await session.timeProduct({ product, m, k, n, dtype, repeats }));
      seconds.training += taken;
      if (product === "forward") seconds.forward += taken;
    }
  }
  const side = { m: largeSide, k: largeSide, n: largeSide };
  const large = median(await session.timeProduct({ product: "forward", ...side, dtype, repeats: 3 }));
  return {
    forward: flop / seconds.forward,
    training: (3 * flop) / seconds.training,
    large: (2 * largeSide ** 3) / large,
  };
}

/** @returns {Promise<number>} bytes per second, read plus written */
export async function copyRate(session, bytes, repeats = 5) {
  return bytes / median(await session.timeCopy({ bytes, repeats }));
}

/** @returns {Promise<Map<number, number>>} bytes per second by size of the copy */
export async function copyRates(session) {
  const rates = new Map();
  for (const bytes of copySizes) rates.set(bytes, await copyRate(session, bytes, bytes < 2 ** 24 ? 25 : 5));
  return rates;
}

/** The rate at the smallest measured size that holds `bytes`. */
export function copyRateFor(rates, bytes) {
  return rates.get(copySizes.find((size) => size >= bytes) ?? copySizes.at(-1));
}

/** @param {number[]} values at least one */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}
