import { isOwnMethod, type MethodEntry, type ResolvedConfig } from "../config/schema.js";
import { methodFromConfig } from "../methods/from-config.js";
import { initialize } from "../methods/initialize.js";
import { loadOwnMethod } from "../methods/own-method.js";
import type { Method } from "../methods/method.js";
import { composePlan } from "../methods/plan.js";
import type { ParameterPlan } from "../native/types.js";
import type { Prepared } from "./prepare.js";

/**
 * The plan of a run: fresh values for what the checkpoint lacks, then the config's methods, then the caller's.
 *
 * @throws ConfigError where a method cannot be loaded, does not fit the model, or asks for what no plan can hold.
 */
export async function planOf(
  { session, initialised, model }: Pick<Prepared, "session" | "initialised" | "model">,
  config: ResolvedConfig,
  methods: readonly Method[],
): Promise<ParameterPlan[]> {
  const setting = { protocol: config.protocol, std: model.config.initializerRange };
  const load = async (entry: MethodEntry): Promise<Method> =>
    isOwnMethod(entry) ? loadOwnMethod(entry) : methodFromConfig(entry, setting);
  const named = await Promise.all(config.methods.map(load));
  return composePlan(session.parameters, [initialize(initialised, setting.std), ...named, ...methods]);
}
