import { setKey } from "../config/set.js";
import type { RunConfig } from "../config/schema.js";
import type { GridFile } from "./schema.js";

/** One combination of a grid's values, by config key: `{"methods.0.layers": 3}`. */
export type GridValues = Record<string, unknown>;

/** Every combination, the last key's values in the innermost loop. */
export function gridPoints(grid: GridFile): GridValues[] {
  return Object.entries(grid).reduce<GridValues[]>(
    (points, [key, values]) => points.flatMap((point) => values.map((value) => ({ ...point, [key]: value }))),
    [{}],
  );
}

/** The config with the values of a grid's point in their places. @throws ConfigError where a key has no place */
export function atPoint(config: RunConfig, values: GridValues, said: string): RunConfig {
  return Object.entries(values).reduce(
    (changed, [key, value]) => setKey(changed, key, value, `${said}: grid: `),
    config,
  );
}

/** "layers 3", "learningRate 2e-5, decay 0.95". */
export function pointLabel(values: GridValues): string {
  return Object.entries(values)
    .map(([key, value]) => `${key.split(".").at(-1)} ${shown(value)}`)
    .join(", ");
}

/** Small numbers as people write them: 2e-5 and not 0.00002. */
function shown(value: unknown): string {
  if (typeof value === "number" && value !== 0 && Math.abs(value) < 1e-2) return value.toExponential();
  return typeof value === "string" ? value : JSON.stringify(value);
}
