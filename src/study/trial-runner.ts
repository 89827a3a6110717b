import { join } from "node:path";
import {
  AbortedError,
  CheckpointError,
  DataError,
  DivergedError,
  LockedError,
  StateError,
  SteadytuneError,
} from "../errors.js";
import type { ResolvedConfig } from "../config/schema.js";
import { recordDivergedTransfer } from "../training/diverged-transfer.js";
import type { RunEvent } from "../training/events.js";
import { Fingerprints } from "../training/fingerprint.js";
import { prepareSession, preparedKey, readInputs, type Inputs, type Prepared } from "../training/prepare.js";
import type { RunResult } from "../training/result.js";
import { openRunFolder } from "../training/run-folder.js";
import { trainIn } from "../training/train.js";
import { obtainTransfer } from "../training/transfer.js";
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

/** What trials of one model and one data set share. */
interface Loaded {
  key: string;
  inputs: Inputs;
  /** Null where the intermediate task diverged: none of the trials has anything to start from. */
  prepared: Prepared | null;
}

/**
 * Runs trials of a study, one at a time, in this process. Model and data stay loaded from trial to trial as long as the
 * next one needs the same: then it starts from the weights by one copy in memory.
 */
export class TrialRunner implements AsyncDisposable {
  readonly #folder: string;
  #loaded: Loaded | null = null;

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
    // Not this trial's failure: with the files that were planned it can be run.
    if (this.#loaded?.key !== loadedKey(trial)) await refuseChanged(trial);
    try {
      const loaded = await this.#load(trial, hooks);
      const result = await train(loaded, trial.config, workFolder(folder, trial), hooks);
      await moveToFinished(folder, trial);
      return result;
    } catch (error) {
      if (isOfTheTrial(error)) await recordFailure(folder, trial, error);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loaded?.prepared?.dispose();
    this.#loaded = null;
  }

  async #load(trial: Trial, hooks: TrialHooks): Promise<Loaded> {
    const { config } = trial;
    const key = loadedKey(trial);
    if (this.#loaded?.key === key) return this.#loaded;
    // Two models at once may be more than memory holds.
    await this[Symbol.asyncDispose]();
    const options = { ...hooks, transferFolder: (id: string) => join(studyPaths(this.#folder).stages, id) };
    const inputs = await readInputs(config, options);
    const transfer = await obtainTransfer(config, options).catch((error: unknown) => {
      if (error instanceof DivergedError) return "diverged" as const;
      throw error;
    });
    const prepared = transfer === "diverged" ? null : await prepareSession(config, inputs, transfer, options);
    this.#loaded = { key, inputs, prepared };
    return this.#loaded;
  }
}

/** What trials that share model and data have in common, and what these held when the trials were planned. */
function loadedKey({ config, fingerprint }: Trial): string {
  return JSON.stringify([preparedKey(config), fingerprint]);
}

async function train(
  { inputs, prepared }: Loaded,
  config: ResolvedConfig,
  folder: string,
  hooks: TrialHooks,
): Promise<RunResult> {
  await using place = await openRunFolder(folder, config, { namedByContent: true });
  if (place.finished !== null) return place.finished;
  if (prepared === null) return await recordDivergedTransfer(place, inputs, config);
  return await trainIn(place, prepared, config, hooks);
}

function isOfTheTrial(error: unknown): boolean {
  if (error instanceof LockedError || error instanceof AbortedError) return false;
  return !(error instanceof SteadytuneError && isOfTheMachine(error));
}

/** A trial's id promises what it was trained on. @throws when its files or the code are not those that were planned. */
async function refuseChanged({ config, fingerprint: planned }: Trial): Promise<void> {
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
