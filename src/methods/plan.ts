import { nearest } from "../config/suggest.js";
import { ConfigError, SteadytuneError } from "../errors.js";
import type { ParameterInfo, ParameterPlan } from "../native/types.js";
import { checkChanges } from "./check-changes.js";
import type { Method, PlanChanges } from "./method.js";

const plain: ParameterPlan = {
  frozen: false,
  lrScale: 1,
  weightDecay: 0,
  decayTowards: "zero",
  decayScaledByLr: true,
  reset: "none",
  mixout: null,
};

/**
 * Plain fine-tuning, then each method in the order given; a later one wins where two change the same thing.
 *
 * @returns one plan per parameter, in the order of `parameters`.
 * @throws ConfigError when a method fails, names a parameter that the model does not have, or asks for what no plan can
 *   hold; and when nothing is left to train. The method is named by its function's name.
 */
export function composePlan(parameters: readonly ParameterInfo[], methods: readonly Method[]): ParameterPlan[] {
  const plans = new Map(parameters.map(({ name }) => [name, { ...plain }]));
  for (const method of methods) {
    const who = method.name === "" ? "a method" : `the method ${method.name}`;
    for (const [name, changes] of Object.entries(apply(method, parameters, who))) {
      const plan = plans.get(name);
      if (!plan) {
        const near = nearest(name, plans.keys());
        throw new ConfigError(`${who} changes the parameter "${name}", which the model does not have`, {
          hint: near ? `did you mean "${near}"?` : `parameters have names such as ${parameters[0]?.name}`,
        });
      }
      checkChanges(changes, `${who}: ${name}`);
      Object.assign(plan, changes);
    }
  }
  const composed = [...plans.values()];
  if (composed.every(({ frozen }) => frozen)) {
    throw new ConfigError("the methods freeze every parameter, so there is nothing to train");
  }
  return composed;
}

function apply(method: Method, parameters: readonly ParameterInfo[], who: string): PlanChanges {
  let changes: unknown;
  try {
    changes = method(parameters);
  } catch (cause) {
    if (cause instanceof SteadytuneError) throw cause;
    throw new ConfigError(`${who} failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  if (typeof changes === "object" && changes !== null && !Array.isArray(changes) && !(changes instanceof Promise)) {
    return changes as PlanChanges;
  }
  throw new ConfigError(`${who} does not return changes by parameter name`, {
    hint: 'such as { "pooler.weight": { frozen: true } }; it must not be async',
  });
}
