export type Phase = "train" | "evaluate" | "finish";

/** Where a run's time goes. It goes on from the seconds of an earlier life, so that kills and pauses do not count. */
export class RunClock {
  readonly #seconds: Record<Phase, number>;
  #phase: Phase = "train";
  #since = performance.now();

  constructor(earlier: Record<Phase, number> = { train: 0, evaluate: 0, finish: 0 }) {
    this.#seconds = { ...earlier };
  }

  enter(phase: Phase): void {
    this.#settle();
    this.#phase = phase;
  }

  get seconds(): Record<Phase, number> & { total: number } {
    this.#settle();
    const { train, evaluate, finish } = this.#seconds;
    return { train, evaluate, finish, total: train + evaluate + finish };
  }

  get elapsedMs(): number {
    return Math.round(this.seconds.total * 1000);
  }

  #settle(): void {
    const now = performance.now();
    this.#seconds[this.#phase] += (now - this.#since) / 1000;
    this.#since = now;
  }
}
