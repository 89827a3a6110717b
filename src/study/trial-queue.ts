import { preparedKey } from "../training/prepare.js";
import type { Trial } from "./plan.js";

/** Trials that wait for one of several workers. */
export class TrialQueue {
  readonly #trials: Trial[];
  /** Intermediate tasks that some worker is at; others who need one of them would only wait. */
  readonly #training = new Set<string>();
  readonly #trained = new Set<string>();

  constructor(trials: readonly Trial[]) {
    this.#trials = [...trials];
  }

  get length(): number {
    return this.#trials.length;
  }

  /**
   * The next trial for a worker: one of those that need what it has loaded if there are any, else the first that need
   * not wait for an intermediate task, else the first.
   *
   * @param loaded the `preparedKey` of what the worker ran last
   */
  take(loaded: string | null): Trial | null {
    const same = this.#trials.findIndex(({ config }) => preparedKey(config) === loaded);
    const free = this.#trials.findIndex(({ fingerprint }) => !this.#training.has(fingerprint.transfer ?? ""));
    const index = [same, free].find((index) => index >= 0) ?? 0;
    const trial = this.#trials.splice(index, 1)[0] ?? null;
    const transfer = trial?.fingerprint.transfer;
    if (transfer !== undefined && !this.#trained.has(transfer)) this.#training.add(transfer);
    return trial;
  }

  /** A trial that was taken trains now: its intermediate task is done. */
  started({ fingerprint: { transfer } }: Trial): void {
    if (transfer === undefined) return;
    this.#training.delete(transfer);
    this.#trained.add(transfer);
  }

  /** A trial that was taken has come to an end, whatever that was. */
  ended({ fingerprint: { transfer } }: Trial): void {
    if (transfer !== undefined) this.#training.delete(transfer);
  }

  /** Puts back a trial that could not be run now. */
  putBack(trial: Trial): void {
    this.#trials.push(trial);
  }
}
