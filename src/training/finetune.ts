import { resolveConfig } from "../config/resolve.js";
import type { RunConfig } from "../config/schema.js";
import { DivergedError } from "../errors.js";
import { prepare } from "./prepare-run.js";
import type { RunResult } from "./result.js";
import { openRunFolder, type RunFolder } from "./run-folder.js";
import { runStream, type FinetuneRun } from "./run-stream.js";
import { trainIn, type TrainOptions } from "./train.js";

/**
 * Fine-tunes one model as the config says, into the folder `output`.
 *
 * @example
 * const run = finetune({ model: "./bert-base-uncased", data: "tickets.csv", text: "body", label: "queue" });
 * for await (const event of run) if (event.type === "evaluation") console.log(event.step, event.validation);
 * console.log((await run.result).best?.test);
 */
export function finetune(config: RunConfig, options: TrainOptions = {}): FinetuneRun {
  return runStream(async (hooks) => {
    const resolved = resolveConfig(config);
    const whole = { ...options, ...hooks };
    await using place = await openRunFolder(resolved.output, resolved);
    if (place.finished) return settled(place.finished, place);
    await using prepared = await prepare(resolved, { ...whole, once: true });
    return settled(await trainIn(place, prepared, resolved, whole), place);
  }, options);
}

/** A single run that diverged is an error; its result stands in the folder. */
function settled(result: RunResult, { path }: RunFolder): RunResult {
  if (result.divergedAt === null) return result;
  throw new DivergedError(
    `training diverged: loss or gradient was not finite at step ${result.divergedAt} of ${result.steps}`,
    result.divergedAt,
    { hint: `its record is in ${path}; try a lower learning rate, or longer warm-up` },
  );
}
