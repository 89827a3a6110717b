// The machine's side of compare.mjs: "measure T E" times matrix products over T tokens, forward ones over E, and copies.

import { createSession } from "../../dist/native/session.js";
import { copyRate, copySizes, matrixRates } from "./rates.mjs";
import { serve } from "./side.mjs";

const { shape, dtype, threads } = JSON.parse(process.argv[2]);
// The session is there for its thread alone: a model of the least size.
const least = { layers: 1, vocabularySize: 1, hiddenSize: 1, embeddingSize: 1, heads: 1, intermediateSize: 1 };
const session = createSession({ ...shape, ...least }, { device: "cpu", dtype, threads });
try {
  await serve(
    {},
    {
      async measure(tokens, evaluationTokens) {
        const { training, large } = await matrixRates(session, shape, { tokens: Number(tokens), dtype });
        const { forward } = await matrixRates(session, shape, { tokens: Number(evaluationTokens), dtype });
        return { training, large, forward, copy: await copyRate(session, copySizes.at(-1)) };
      },
    },
  );
} finally {
  await session.dispose();
}
