import { ConfigError } from "../errors.js";
import type { RunResult } from "../training/result.js";
import { requireManifest } from "./manifest.js";
import type { Trial } from "./plan.js";
import { otherVersionsNote } from "./planned-versions.js";
import { TrialRunner, type TrialHooks } from "./trial-runner.js";

/**
 * Runs one trial of a planned study in this process: what one task of an array job does. One that is finished is left
 * as it is.
 *
 * @param index the trial's place in the manifest, from 0
 * @throws ConfigError when there is no such trial; LockedError when another process is at work on it; the error of
 *   the trial when it fails now or failed before; AbortedError after its state was saved.
 */
export async function runIndex(
  folder: string,
  index: number,
  hooks: TrialHooks,
): Promise<{ trial: Trial; result: RunResult }> {
  const { trials } = await requireManifest(folder);
  const trial = trials[index];
  if (trial === undefined) {
    throw new ConfigError(`${folder} has no trial ${index}: its trials are 0 to ${trials.length - 1}`);
  }
  const note = otherVersionsNote([trial]);
  if (note !== null) hooks.onEvent({ type: "warning", message: note });
  await using runner = new TrialRunner(folder);
  return { trial, result: await runner.run(trial, hooks) };
}
