import type { SteadytuneError } from "../errors.js";
import type { RunEvent } from "../training/events.js";
import type { RunResult } from "../training/result.js";
import type { Trial } from "./plan.js";

/** What happens while trials run. `worker` counts from 0. */
export type TrialEvent =
  | { type: "trial-start"; worker: number; trial: Trial }
  | { type: "trial-event"; worker: number; trial: Trial; event: RunEvent }
  | { type: "trial-end"; worker: number; trial: Trial; result: RunResult }
  | { type: "trial-failed"; worker: number; trial: Trial; error: SteadytuneError }
  /** Another process is at work on the trial; it is looked at again later. */
  | { type: "trial-elsewhere"; worker: number; trial: Trial }
  | { type: "worker-lost"; worker: number; trial: Trial; message: string };

export interface ExecutorOptions {
  /** The study's folder. */
  folder: string;
  signal?: AbortSignal | undefined;
  /** Asked before each trial is begun; once it says no, no more are. */
  mayBegin: () => Promise<boolean>;
  onEvent: (event: TrialEvent) => void;
}

/**
 * Runs trials, each to its end: finished, diverged or failed. A trial that fails does not stop the others.
 *
 * @throws AbortedError after all workers have saved their state; NativeError when no trial could run on this machine.
 */
export type Executor = (trials: readonly Trial[], options: ExecutorOptions) => Promise<void>;
