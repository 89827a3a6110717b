import type { Trial } from "./plan.js";
import type { BudgetConfig } from "./schema.js";
import { isFinished, readTrialResult } from "./trial.js";

/** The time that a study may spend on its trials, however many workers, processes and days share it. */
export class Budget {
  readonly #folder: string;
  readonly #seconds: number;
  /** Trials that had not finished when they were last looked at. */
  readonly #open: Map<string, Trial>;
  #spent = 0;

  /** @param config null for a study that may go on for as long as it takes */
  constructor(config: BudgetConfig | null, folder: string, trials: readonly Trial[]) {
    this.#folder = folder;
    this.#seconds = config === null ? Infinity : config.hours * 3600;
    this.#open = new Map(trials.map((trial) => [trial.id, trial]));
  }

  /** Whether the finished trials have taken all of it, those included that other processes have run meanwhile. */
  async isSpent(): Promise<boolean> {
    if (this.#seconds === Infinity) return false;
    for (const trial of [...this.#open.values()].filter((trial) => isFinished(this.#folder, trial))) {
      // Taken off before anything is waited for: several workers may ask at once.
      if (!this.#open.delete(trial.id)) continue;
      this.#spent += (await readTrialResult(this.#folder, trial)).seconds.total;
    }
    return this.#spent >= this.#seconds;
  }
}
