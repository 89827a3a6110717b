import type { ResolvedConfig } from "../config/schema.js";
import { writeFileAtomic } from "../files/atomic.js";
import { selectionMetric } from "../metrics/selection.js";
import { deviceOf } from "../native/device.js";
import { StepBatches } from "./batches.js";
import { circumstances } from "./finish.js";
import { RunLog } from "./log.js";
import type { Inputs } from "./prepare.js";
import type { RunResult } from "./result.js";
import type { RunFolder } from "./run-folder.js";
import { totalSteps } from "./schedule.js";
import { versionsOf } from "./versions.js";

/**
 * Leaves the record of a run whose intermediate task diverged: it has nothing to start from, however often it is tried,
 * and counts as diverged at step 0.
 */
export async function recordDivergedTransfer(
  place: RunFolder,
  inputs: Inputs,
  config: ResolvedConfig,
): Promise<RunResult> {
  const { data, encoded } = inputs;
  const { dtype, engine, threads } = config;
  const result: RunResult = {
    task: data.task.name,
    metric: data.task.metric,
    selectedBy: selectionMetric(data.task, config),
    best: null,
    last: null,
    ...circumstances(inputs, config),
    transfer: null,
    degenerate: true,
    diverged: true,
    divergedAt: 0,
    seconds: { total: 0, train: 0, evaluate: 0 },
    steps: totalSteps(config, new StepBatches(encoded.train, config).stepsPerEpoch),
    tokens: 0,
    peakMemoryBytes: 0,
    versions: versionsOf({ device: deviceOf(config), dtype, engine, threads }),
  };
  await place.begin();
  {
    using log = new RunLog(place.files.log, 0);
    log.append({ type: "diverged", step: 0, elapsedMs: 0 });
  }
  await writeFileAtomic(place.files.result, `${JSON.stringify(result, null, 2)}\n`);
  return result;
}
