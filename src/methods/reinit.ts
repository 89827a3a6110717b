import { ConfigError } from "../errors.js";
import { freshReset } from "./initialize.js";
import { blockCount, type Method } from "./method.js";

/**
 * Re-init (paper, Sec. 5): the pooler and the top `layers` blocks start from fresh values, N(0, std) as in pre-training;
 * 0 layers is the pooler alone. In a model without a pooler (all families but BERT) it is the blocks alone; the hidden
 * layer of their classifier is drawn anew with the classifier, and kept with it after an intermediate task with as many
 * labels. Embeddings are never drawn anew.
 *
 * @throws ConfigError when the model has fewer blocks, or when there is nothing to draw.
 */
export function reinit(layers: number, std: number): Method {
  return (parameters) => {
    const blocks = blockCount(parameters);
    if (layers > blocks) {
      throw new ConfigError(`methods: reinit has layers ${layers}, but the model has ${blocks} blocks`);
    }
    if (layers === 0 && !parameters.some(({ role }) => role === "pooler")) {
      throw new ConfigError("methods: this model has no pooler, so reinit with layers 0 would draw nothing anew", {
        hint: `layers 1 to ${blocks} draw that many of the top blocks`,
      });
    }
    return Object.fromEntries(
      parameters
        .filter(({ role, block }) => role === "pooler" || (block !== null && block >= blocks - layers))
        .map((parameter) => [parameter.name, { reset: freshReset(parameter, std, "reinit") }]),
    );
  };
}
