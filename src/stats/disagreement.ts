/**
 * On how many rows two runs that differ only in their seed say different things. Two runs can score alike and still be
 * right about different rows.
 */
export class Disagreement {
  /** By row, how many runs say what. */
  readonly #said: Map<string, number>[] = [];
  #runs = 0;

  /** @param labels what a run says about each row; every run about the same rows in the same order */
  add(labels: readonly string[]): void {
    if (this.#runs > 0 && labels.length !== this.#said.length) {
      throw new RangeError(`a run speaks of ${labels.length} rows, those before it of ${this.#said.length}`);
    }
    for (const [row, label] of labels.entries()) {
      const said = (this.#said[row] ??= new Map<string, number>());
      said.set(label, (said.get(label) ?? 0) + 1);
    }
    this.#runs += 1;
  }

  /** The mean, over all pairs of runs, of the share of rows that they disagree on; NaN with fewer than two runs. */
  get share(): number {
    const pairs = this.#runs * (this.#runs - 1);
    let agreeing = 0;
    for (const said of this.#said) for (const runs of said.values()) agreeing += runs * (runs - 1);
    return pairs === 0 ? NaN : 1 - agreeing / (pairs * this.#said.length);
  }
}
