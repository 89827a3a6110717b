import type { SeedsFile } from "./schema.js";

/** The seeds of one run; `seed` alone, or both of the others. */
export type TrialSeeds = { seed: number } | { initSeed: number; orderSeed: number };

/** A count means the seeds from 0; a grid every init seed with every order seed (paper, App. B). */
export function expandSeeds(seeds: SeedsFile): TrialSeeds[] {
  if (typeof seeds === "number") return Array.from({ length: seeds }, (_, seed) => ({ seed }));
  if (Array.isArray(seeds)) return seeds.map((seed) => ({ seed }));
  return seeds.init.flatMap((initSeed) => seeds.order.map((orderSeed) => ({ initSeed, orderSeed })));
}

/** "seed 3", "init 1, order 2". */
export function seedLabel({ initSeed, orderSeed }: { initSeed: number; orderSeed: number }): string {
  return initSeed === orderSeed ? `seed ${initSeed}` : `init ${initSeed}, order ${orderSeed}`;
}

/** The label of a trial with these seeds. */
export function labelOf(seeds: TrialSeeds): string {
  return seedLabel("seed" in seeds ? { initSeed: seeds.seed, orderSeed: seeds.seed } : seeds);
}

/** The seeds that there were, and behind them those that are new: seeds are only ever added. */
export function mergeSeeds(planned: readonly TrialSeeds[], wanted: readonly TrialSeeds[]): TrialSeeds[] {
  const before = new Set(planned.map(labelOf));
  return [...planned, ...wanted.filter((seeds) => !before.has(labelOf(seeds)))];
}
