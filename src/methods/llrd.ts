import type { ParameterInfo } from "../native/types.js";
import { blockCount, type Method, type PlanChanges } from "./method.js";

/**
 * Layer-wise learning rate decay (paper, Sec. 7; Howard & Ruder 2018): pooler and classifier at the full rate, the top
 * block at `decay`, each block below at `decay` times the one above it, the embeddings last.
 *
 * @param headDecay false takes pooler and classifier out of weight decay, as the paper's released code does; a decay
 *   that is to act on the rest comes before this method
 */
export function llrd(decay: number, { headDecay = true }: { headDecay?: boolean } = {}): Method {
  return (parameters) => {
    const blocks = blockCount(parameters);
    const changesOf = ({ role, block }: ParameterInfo): PlanChanges[string] => {
      if (role === "pooler" || role === "classifier") return headDecay ? {} : { weightDecay: 0 };
      return { lrScale: decay ** (blocks - (block ?? -1)) };
    };
    return Object.fromEntries(parameters.map((parameter) => [parameter.name, changesOf(parameter)]));
  };
}
