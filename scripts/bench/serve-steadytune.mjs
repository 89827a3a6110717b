// steadytune's side of compare.mjs: "train" and "evaluate" measure the next round and the one that was trained last.

import { serve } from "./side.mjs";
import { Workload } from "./workload.mjs";

const { warmUpSteps, steps, rounds, ...options } = JSON.parse(process.argv[2]);
const workload = await Workload.open({ ...options, steps: warmUpSteps + steps * rounds });
try {
  await workload.train(1, warmUpSteps);
  let last = warmUpSteps;
  const losses = [];
  const { shape, session } = workload;
  const { threads, ...versions } = workload.versions;
  const parameters = session.parameters.reduce((sum, { shape: sizes }) => sum + sizes.reduce((a, b) => a * b, 1), 0);
  await serve(
    { shape, parameters, threads, versions },
    {
      async train() {
        const first = last + 1;
        last += steps;
        const trained = await workload.train(first, last);
        losses.push(...trained.losses);
        const rows = Array.from({ length: steps }, (_, i) => workload.rowsOf(first + i));
        return {
          ms: trained.ms / steps,
          rowLengths: rows.map(({ rowLengths }) => rowLengths),
          movedElements: workload.movedElements,
        };
      },
      async evaluate() {
        const { ms, tokensPerPass } = await workload.evaluate(last - steps + 1, last);
        return { ms: ms / steps, tokensPerPass };
      },
      finish: () => ({ losses, peakMemoryBytes: session.peakMemoryBytes() }),
    },
  );
} finally {
  await workload.close();
}
