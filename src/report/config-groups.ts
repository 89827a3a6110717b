import type { ResolvedConfig } from "../config/schema.js";

/** Dotted keys to values: `{ "optimizer.eps": 1 }`. */
export type FlatConfig = Record<string, unknown>;

/** Keys in which two runs of one cell may differ. */
const notOfTheCell = [
  "seed",
  "initSeed",
  "orderSeed",
  "output",
  "resume",
  "stateEvery",
  "keep",
  "threads",
  "device",
  "tensorboard",
];

/** What of a config is its cell's, beside `more` keys that are of no interest. */
export function cellConfig(config: ResolvedConfig, more: readonly string[] = []): FlatConfig {
  const flat = flatten(config);
  for (const key of [...notOfTheCell, ...more]) delete flat[key];
  return flat;
}

/** `{ optimizer: { eps: 1 } }` to `{ "optimizer.eps": 1 }`; arrays stay whole. */
function flatten(value: object, prefix = ""): FlatConfig {
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]: [string, unknown]) =>
      typeof inner === "object" && inner !== null && !Array.isArray(inner)
        ? Object.entries(flatten(inner, `${prefix}${key}.`))
        : [[`${prefix}${key}`, inner]],
    ),
  );
}
