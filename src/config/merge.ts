import type { RunConfig } from "./schema.js";

/**
 * `overlay` on top of `base`: objects are merged key by key, arrays and values replaced. A run has one length and one
 * set of seeds, so `steps` in the overlay takes the place of `epochs` below it (and the other way round), and `seed`
 * that of `initSeed` and `orderSeed`. The intermediate task is merged by the same rules.
 */
export function mergeConfigs(base: RunConfig, overlay: RunConfig): RunConfig {
  const kept = { ...base };
  if (overlay.steps !== undefined || overlay.epochs !== undefined) {
    delete kept.steps;
    delete kept.epochs;
  }
  if (overlay.seed !== undefined) {
    delete kept.initSeed;
    delete kept.orderSeed;
  }
  if (overlay.initSeed !== undefined && overlay.orderSeed !== undefined) delete kept.seed;
  const merged: RunConfig = { ...kept, ...overlay };
  if (base.optimizer && overlay.optimizer) merged.optimizer = { ...base.optimizer, ...overlay.optimizer };
  if (base.transfer && overlay.transfer) merged.transfer = mergeConfigs(base.transfer, overlay.transfer);
  return merged;
}
