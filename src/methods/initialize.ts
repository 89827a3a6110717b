import type { ParameterInfo, Reset } from "../native/types.js";
import type { Method, PlanChanges } from "./method.js";

/** A fresh parameter as BERT makes one: weights N(0, std), biases 0, LayerNorm 1 and 0. */
export function freshReset({ role, kind }: ParameterInfo, std: number, stream: "classifierInit" | "reinit"): Reset {
  if (kind === "bias") return "zeros";
  return role === "layerNorm" ? "ones" : { normal: std, stream };
}

/**
 * Parameters that the checkpoint does not hold (a new classifier, at times a pooler), drawn anew for every `initSeed`.
 * They have a stream of their own so that arms that differ in Re-init share the same classifier (paper, App. B).
 */
export function initialize(names: readonly string[], std: number): Method {
  const missing = new Set(names);
  return (parameters): PlanChanges =>
    Object.fromEntries(
      parameters
        .filter(({ name }) => missing.has(name))
        .map((parameter) => [parameter.name, { reset: freshReset(parameter, std, "classifierInit") }]),
    );
}
