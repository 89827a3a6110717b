import { ConfigError } from "../errors.js";
import { freshReset } from "./initialize.js";
import { blockCount, type Method } from "./plan.js";

/**
 * Re-init (paper, Sec. 5): the pooler and the top `layers` blocks start from fresh values, N(0, std) as in pre-training;
 * 0 layers is the pooler alone. Embeddings are never drawn anew.
 *
 * @throws ConfigError when the model has fewer blocks.
 */
export function reinit(layers: number, std: number): Method {
  return (parameters) => {
    const blocks = blockCount(parameters);
    if (layers > blocks) {
      throw new ConfigError(`methods: reinit has layers ${layers}, but the model has ${blocks} blocks`);
    }
    return Object.fromEntries(
      parameters
        .filter(({ role, block }) => role === "pooler" || (block !== null && block >= blocks - layers))
        .map((parameter) => [parameter.name, { reset: freshReset(parameter, std, "reinit") }]),
    );
  };
}
