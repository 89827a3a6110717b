import { DataError } from "../errors.js";
import { plural } from "./plural.js";

/**
 * What happens to rows that cannot be used: each is an error that names its place, or, when the user asked for it,
 * they are counted, skipped and reported in one sentence.
 */
export class BadRows {
  /** What places are counted in: lines of a text file, or rows of a Parquet file, both from 1. */
  readonly unit: "line" | "row";
  readonly #path: string;
  readonly #skip: boolean;
  #count = 0;
  #first = "";

  constructor(path: string, unit: "line" | "row", skip: boolean) {
    this.#path = path;
    this.unit = unit;
    this.#skip = skip;
  }

  /** Throws DataError, or counts the row as skipped; `problem` reads on after "line 7: ". */
  add(place: number, problem: string, hint = "Correct the row, or have bad rows skipped with --skip-bad-rows."): void {
    if (!this.#skip) throw new DataError(`${this.#path}, ${this.unit} ${place}: ${problem}`, { hint });
    if (this.#count === 0) this.#first = `${this.unit} ${place}: ${problem}`;
    this.#count++;
  }

  get count(): number {
    return this.#count;
  }

  /** One sentence for the user, or nothing. */
  notes(): string[] {
    if (this.#count === 0) return [];
    const first = `${this.#count === 1 ? "" : "the first: "}${this.#first}`;
    return [`${this.#path}: ${plural(this.#count, "bad row")} skipped (${first})`];
  }
}
