import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ResolvedConfig } from "../config/schema.js";
import { AbortedError, CheckpointError, DivergedError, LockedError } from "../errors.js";
import { Fingerprints, runId } from "./fingerprint.js";
import { planOf } from "./plan.js";
import { prepareSession, readInputs, type PrepareOptions, type TransferCheckpoint } from "./prepare.js";
import type { RunResult } from "./result.js";
import { openRunFolder, readResult, runFiles, type RunFolder } from "./run-folder.js";
import { trainIn } from "./train.js";
import { transferRun } from "./transfer-run.js";

/** How often a process that waits for another looks whether that has ended. */
const waitMs = 500;

/**
 * The best checkpoint of the intermediate task of `config` (paper, Sec. 7): that of an ordinary run in a folder named by
 * a hash of everything that decides its outcome. So it is trained once: whoever finds it finished takes it, whoever
 * finds another process at work waits, and one that was killed is gone on with.
 *
 * @returns null where the config has no intermediate task.
 * @throws DivergedError when its run diverged; AbortedError, also while waiting; ConfigError and the like before it is
 *   trained when it, or a method of the run that it is for, is wrong.
 */
export async function obtainTransfer(
  config: ResolvedConfig,
  options: PrepareOptions = {},
): Promise<TransferCheckpoint | null> {
  const planned = transferRun(config);
  if (planned === null) return null;
  const { onEvent = () => {}, transferFolder = (id: string) => join(dirname(config.output), `transfer-${id}`) } =
    options;
  const id = runId(planned, await new Fingerprints().of(planned));
  const run = { ...planned, output: transferFolder(id) };
  const result = await trainOnce(run, config, options);
  const checkpoint = checkpointOf(result, run.output, id);
  const { task, step, metric, score } = checkpoint.origin;
  onEvent({
    type: "note",
    message: `Starting from the intermediate task ${task} (${run.output}): step ${step}, validation ${metric} ${score.toFixed(4)}.`,
  });
  return checkpoint;
}

async function trainOnce(run: ResolvedConfig, target: ResolvedConfig, options: PrepareOptions): Promise<RunResult> {
  const { signal, onEvent = () => {} } = options;
  for (let waits = 0; ; waits++) {
    // A finished run is never touched again, so that it takes no lock to read it.
    const finished = await readResult(run.output);
    if (finished !== null) return finished;
    await using place = await openUnlessTaken(run);
    if (place !== null) return place.finished ?? (await trainNow(place, run, target, options));
    if (waits === 0) {
      const message = `Another process is training the intermediate task ${nameOf(run)} in ${run.output}: waiting for it.`;
      onEvent({ type: "waiting", message });
    }
    await sleep(waitMs, undefined, signal && { signal }).catch(() => {
      throw new AbortedError();
    });
  }
}

async function trainNow(
  place: RunFolder,
  run: ResolvedConfig,
  target: ResolvedConfig,
  { signal, onEvent, methods = [] }: PrepareOptions,
): Promise<RunResult> {
  const hooks: PrepareOptions = { signal, onEvent: (event) => onEvent?.({ type: "transfer", event }) };
  const inputs = await readInputs(run, hooks);
  await using prepared = await prepareSession(run, inputs, null, { ...hooks, once: true });
  // Both runs have the same parameters: what is wrong with the methods of the second comes out before the first.
  await planOf(prepared, target, methods);
  return await trainIn(place, prepared, run, hooks);
}

async function openUnlessTaken(run: ResolvedConfig): Promise<RunFolder | null> {
  try {
    return await openRunFolder(run.output, run, { namedByContent: true });
  } catch (error) {
    if (error instanceof LockedError) return null;
    throw error;
  }
}

function checkpointOf(result: RunResult, folder: string, id: string): TransferCheckpoint {
  const { task, selectedBy: metric, best, divergedAt, steps } = result;
  if (divergedAt !== null || best === null) {
    throw new DivergedError(
      `the intermediate task ${task} diverged: loss or gradient was not finite at step ${divergedAt} of ${steps}`,
      divergedAt ?? steps,
      { hint: `its record is in ${folder}; try a lower transfer.optimizer.learningRate` },
    );
  }
  const weights = runFiles(folder).best;
  if (!existsSync(weights)) {
    throw new CheckpointError(`${folder} holds the result of the intermediate task ${task}, but not its weights`, {
      hint: "remove the folder to train it again",
    });
  }
  const score = best.validation[metric] ?? NaN;
  return { folder: weights, origin: { id, task, step: best.step, metric, score } };
}

function nameOf({ task, data }: ResolvedConfig): string {
  return task ?? data;
}
