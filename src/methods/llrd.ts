import type { Method } from "./plan.js";
import { blockCount } from "./plan.js";

/**
 * Layer-wise learning rate decay (paper, Sec. 7; Howard & Ruder 2018): pooler and classifier at the full rate, the top
 * block at `decay`, each block below at `decay` times the one above it, the embeddings last.
 */
export function llrd(decay: number): Method {
  return (parameters) => {
    const blocks = blockCount(parameters);
    return Object.fromEntries(
      parameters
        .filter(({ role }) => role !== "pooler" && role !== "classifier")
        .map(({ name, block }) => [name, { lrScale: decay ** (blocks - (block ?? -1)) }]),
    );
  };
}
