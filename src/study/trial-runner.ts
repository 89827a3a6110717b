import { join } from "node:path";
import { AbortedError, CheckpointError, DataError, LockedError, StateError, SteadytuneError } from "../errors.js";
import type { RunEvent } from "../training/events.js";
import { Fingerprints } from "../training/fingerprint.js";
import { prepare } from "../training/prepare-run.js";
import { preparedKey, type Prepared } from "../training/prepare.js";
import type { RunResult } from "../training/result.js";
import { train } from "../training/train.js";
import { numerics } from "../training/versions.js";
import { studyPaths } from "./folder.js";
import { isOfTheMachine } from "./machine-error.js";
import type { Trial } from "./plan.js";
import {
  isFinished,
  lockTrial,
  moveToFinished,
  readFailure,
  readTrialResult,
  recordFailure,
  workFolder,
} from "./trial.js";

export interface TrialHooks {
  /** Saves the trial's state and rejects with AbortedError. */
  signal: AbortSignal;
  onEvent: (event: RunEvent) => void;
}

/**
 * Runs trials of a study, one at a time, in this process. Model and data stay loaded from trial to trial as long as the
 * next one needs the same: then it starts from the weights by one copy in memory.
 */
export class TrialRunner implements AsyncDisposable {
  readonly #folder: string;
  #prepared: Prepared | null = null;

  /** @param folder the study's */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Trains a trial, or goes on where it was cut off, and moves its folder among the finished ones; the result of one
   * that is finished is read. What went wrong with a trial is left in its folder.
   *
   * @throws LockedError when another process is at work on this very trial; AbortedError after the state was saved; what
   *   the trial failed with, now or before.
   */
  async run(trial: Trial, hooks: TrialHooks): Promise<RunResult> {
    const folder = this.#folder;
    if (isFinished(folder, trial)) return readTrialResult(folder, trial);
    await using _lock = await lockTrial(folder, trial);
    if (isFinished(folder, trial)) return await readTrialResult(folder, trial);
    const failure = await readFailure(folder, trial);
    if (failure !== null) throw failure;
    try {
      const prepared = await this.#prepare(trial, hooks);
      const result = await train(prepared, trial.config, workFolder(folder, trial), hooks);
      await moveToFinished(folder, trial);
      return result;
    } catch (error) {
      if (isOfTheTrial(error)) await recordFailure(folder, trial, error);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#prepared?.dispose();
    this.#prepared = null;
  }

  async #prepare({ config, fingerprint }: Trial, hooks: TrialHooks): Promise<Prepared> {
    if (this.#prepared?.key === preparedKey(config)) return this.#prepared;
    // Two models at once may be more than memory holds.
    await this[Symbol.asyncDispose]();
    await refuseChanged(config, fingerprint);
    const transferFolder = (id: string) => join(studyPaths(this.#folder).stages, id);
    this.#prepared = await prepare(config, { ...hooks, transferFolder });
    return this.#prepared;
  }
}

function isOfTheTrial(error: unknown): boolean {
  if (error instanceof LockedError || error instanceof AbortedError) return false;
  return !(error instanceof SteadytuneError && isOfTheMachine(error));
}

/** A trial's id promises what it was trained on. @throws when its files or the code are not those that were planned. */
async function refuseChanged(config: Trial["config"], planned: Trial["fingerprint"]): Promise<void> {
  if (planned.numerics !== numerics) {
    throw new StateError(
      `the trial was planned with version ${planned.numerics} of the numerics, but this is ${numerics}`,
      { hint: "run it with the steadytune that planned it, or plan the study anew with --replan" },
    );
  }
  const now = await new Fingerprints().of(config);
  const details = { hint: "put back what was planned with, or plan the study anew with --replan" };
  if (now.data !== planned.data) {
    throw new DataError(`${config.data} does not hold any more what it did when the study was planned`, details);
  }
  if (now.weights !== planned.weights) {
    throw new CheckpointError(`${config.model} is not any more what it was when the study was planned`, details);
  }
  if (now.transfer !== planned.transfer) {
    throw new DataError("the data of the intermediate task are not those that the study was planned with", details);
  }
}
