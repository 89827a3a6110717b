// One run of steadytune, timed step by step; compare.mjs runs it beside trainer.py. Takes a run config as JSON and
// prints one JSON object: {"stepMs", "losses", "peakMemoryBytes", "threads", "versions"}.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { finetune } from "../../dist/index.js";

const config = JSON.parse(process.argv[2]);
const output = await mkdtemp(join(tmpdir(), "steadytune-bench-"));
try {
  // A state saved between two steps would count as theirs.
  const run = finetune({ ...config, output, evaluations: 1, keep: "none", stateEvery: 86_400 });
  const stepMs = [];
  const losses = [];
  let stepEnd = performance.now();
  for await (const event of run) {
    if (event.type === "start") stepEnd = performance.now();
    if (event.type !== "step") continue;
    const now = performance.now();
    stepMs.push(now - stepEnd);
    losses.push(event.loss);
    stepEnd = now;
  }
  const { peakMemoryBytes, versions } = await run.result;
  const { threads, ...others } = versions;
  process.stdout.write(JSON.stringify({ stepMs, losses, peakMemoryBytes, threads, versions: others }));
} finally {
  await rm(output, { recursive: true, force: true });
}
