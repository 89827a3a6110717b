import type { RunEvent } from "../training/events.js";

type StepEvent = Extract<RunEvent, { type: "step" }>;

/** Rates are those of the last steps, over at least this long where there are as many. */
const windowMs = 5000;

export interface Rates {
  rowsPerSecond: number;
  tokensPerSecond: number;
  /** Until the last step. */
  leftMs: number;
}

/** How fast a run goes. */
export class StepRate {
  #recent: StepEvent[] = [];

  add(event: StepEvent): void {
    const recent = this.#recent;
    recent.push(event);
    while (recent.length > 2 && event.elapsedMs - recent[1]!.elapsedMs >= windowMs) recent.shift();
  }

  /** Time spent on scoring is not part of the rate. */
  reset(): void {
    this.#recent = [];
  }

  /** @returns null before there are two steps to tell it by. */
  rates(batchSize: number): Rates | null {
    const [first, last] = [this.#recent[0], this.#recent.at(-1)];
    if (first === undefined || last === undefined || last.elapsedMs <= first.elapsedMs) return null;
    const seconds = (last.elapsedMs - first.elapsedMs) / 1000;
    const steps = last.step - first.step;
    return {
      rowsPerSecond: (steps * batchSize) / seconds,
      tokensPerSecond: (last.tokens - first.tokens) / seconds,
      leftMs: ((last.steps - last.step) / steps) * seconds * 1000,
    };
  }
}
