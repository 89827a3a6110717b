import type { ParameterInfo, ParameterPlan } from "../native/types.js";

/** What a method changes, by parameter name. A parameter that it does not name keeps its plan. */
export type PlanChanges = Record<string, Partial<ParameterPlan>>;

/**
 * A method: a pure function from a model's parameters to what should be done differently with some of them.
 *
 * @example
 * // Fine-tune the top two blocks and the head only.
 * const topTwo: Method = (parameters) =>
 *   change(parameters, (p) => p.role === "embedding" || (p.block ?? Infinity) < blockCount(parameters) - 2, { frozen: true });
 */
export type Method = (parameters: readonly ParameterInfo[]) => PlanChanges;

/** The same change for every parameter that `which` picks. */
export function change(
  parameters: readonly ParameterInfo[],
  which: (parameter: ParameterInfo) => boolean,
  what: Partial<ParameterPlan>,
): PlanChanges {
  return Object.fromEntries(parameters.filter(which).map(({ name }) => [name, what]));
}

/** Transformer blocks of the model. */
export function blockCount(parameters: readonly ParameterInfo[]): number {
  return Math.max(-1, ...parameters.map(({ block }) => block ?? -1)) + 1;
}

/** Biases and LayerNorm's two vectors: what BERT's own code, and every one since, leaves out of weight decay. */
export function isDecayed(parameter: ParameterInfo): boolean {
  return parameter.kind === "weight" && parameter.role !== "layerNorm";
}
