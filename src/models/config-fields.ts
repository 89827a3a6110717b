import { CheckpointError } from "../errors.js";

/** Far above any encoder; keeps a damaged file from asking for all memory. */
const maxSize = 2 ** 24;

/** Values out of config.json, each checked, with transformers' default where the file may leave one out. */
export class ConfigFields {
  readonly #path: string;
  readonly #raw: Record<string, unknown>;

  constructor(path: string, raw: Record<string, unknown>) {
    this.#path = path;
    this.#raw = raw;
  }

  size(key: string, { fallback, max = maxSize }: { fallback?: number; max?: number } = {}): number {
    return this.#number(key, fallback, `a whole number from 1 to ${max}`, (value) => {
      return Number.isInteger(value) && value >= 1 && value <= max;
    });
  }

  /** An id or an index, which may be 0. */
  index(key: string, fallback: number): number {
    return this.#number(key, fallback, `a whole number from 0 to ${maxSize}`, (value) => {
      return Number.isInteger(value) && value >= 0 && value <= maxSize;
    });
  }

  probability(key: string, fallback: number): number {
    return this.#number(key, fallback, "a number from 0 to below 1", (value) => value >= 0 && value < 1);
  }

  positive(key: string, fallback: number): number {
    return this.#number(key, fallback, "a number above 0", (value) => value > 0 && value < Infinity);
  }

  flag(key: string): boolean {
    return this.#raw[key] === true;
  }

  /** What `key` says, as one of the names in `known`. */
  choice<T>(key: string, fallback: string, known: Readonly<Record<string, T>>, what: string): T {
    const name = this.#raw[key] ?? fallback;
    if (typeof name === "string" && Object.hasOwn(known, name)) return known[name] as T;
    throw new CheckpointError(`${this.#path}: the ${what} ${JSON.stringify(name)} (${key}) is not supported.`, {
      hint: `Supported: ${Object.keys(known).join(", ")}.`,
    });
  }

  /** Refuses a switch of transformers that changes what is computed, unless it has the value that is known here. */
  only(key: string, value: string | number | boolean): void {
    const found = this.#raw[key] ?? value;
    if (found === value) return;
    throw new CheckpointError(
      `${this.#path}: ${key} ${JSON.stringify(found)} is not supported, only ${JSON.stringify(value)}.`,
    );
  }

  /** The head's width must be whole. */
  headsOf(hiddenKey: string, headsKey: string): { hiddenSize: number; heads: number } {
    const hiddenSize = this.size(hiddenKey);
    const heads = this.size(headsKey);
    if (hiddenSize % heads === 0) return { hiddenSize, heads };
    throw new CheckpointError(`${this.#path}: ${hiddenKey} ${hiddenSize} is not a multiple of ${headsKey} ${heads}.`);
  }

  #number(key: string, fallback: number | undefined, wanted: string, fits: (value: number) => boolean): number {
    const value = this.#raw[key] ?? fallback;
    if (value === undefined) throw new CheckpointError(`${this.#path} lacks ${key}.`);
    if (typeof value === "number" && fits(value)) return value;
    throw new CheckpointError(`${this.#path}: ${key} is ${JSON.stringify(value)}, which is not ${wanted}.`);
  }
}
