import type { ResolvedConfig, RunConfig } from "../config/schema.js";
import type { RunEvent } from "./events.js";
import type { Prepared } from "./prepare.js";
import type { RunResult } from "./result.js";

export interface TrainOptions {
  /** Saves the state and rejects with AbortedError. */
  signal?: AbortSignal;
  onEvent?: (event: RunEvent) => void;
}

/**
 * Trains one trial into `folder` on what `prepare` made, and leaves the session as it found it. `folder` may hold an
 * unfinished run of the same config: with `config.resume` it goes on, without it is refused. A finished run is
 * returned as it stands when `config.resume` is set. A diverged trial writes its result and rejects with
 * DivergedError.
 */
export declare function train(
  prepared: Prepared,
  config: ResolvedConfig,
  folder: string,
  options?: TrainOptions,
): Promise<RunResult>;

/** A run under way: its events as they happen, and its result. Leaving the `for await` loop early aborts the run. */
export interface FinetuneRun extends AsyncIterable<RunEvent>, AsyncDisposable {
  readonly result: Promise<RunResult>;
}

export declare function finetune(config: RunConfig, options?: TrainOptions): FinetuneRun;
