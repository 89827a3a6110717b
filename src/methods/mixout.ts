import type { MethodEntry } from "../config/schema.js";
import { ConfigError } from "../errors.js";
import type { Mixout, ParameterInfo, ParameterRole } from "../native/types.js";
import { change, type Method } from "./method.js";

const mixedRoles: ReadonlySet<ParameterRole> = new Set(["attention", "ffn", "pooler", "classifier"]);

/** Probabilities are drawn in steps of 1 / 65536. */
const resolution = 65536;

/** At least 0, and below 1 also when rounded as it is drawn. */
export const isMixoutShare = (p: number): boolean => p >= 0 && Math.round(p * resolution) < resolution;

/**
 * Mixout (Lee et al. 2020; paper, Sec. 7): in every forward pass of training the values at the start of fine-tuning
 * stand in for a random share `p` of each linear layer's weights, scaled so that the mean stays. Biases, embeddings and
 * LayerNorm are never mixed. By default each element is drawn by itself and gradients are exact; the paper's released
 * code draws one mask per input feature and leaves the 1 / (1 - p) out of the gradient.
 *
 * Dropout is a setting of the run: `mixout` in a config turns it off, this function by itself does not.
 *
 * @throws ConfigError when p is not at least 0 and below 1: with p = 1 nothing would be left to train.
 */
export function mixout({
  p,
  mask = "element",
  gradient = "exact",
}: Pick<Mixout, "p"> & Partial<Omit<Mixout, "p">>): Method {
  if (!isMixoutShare(p)) {
    throw new ConfigError(`methods: mixout has p ${p}, which must be at least 0 and below 1`, {
      hint: "with p = 1 the start values would stand in for every weight, and nothing would be trained",
    });
  }
  return (parameters) => change(parameters, isMixed, { mixout: p === 0 ? null : { p, mask, gradient } });
}

/** Mixout stands in for dropout (paper, Sec. 7), unless its entry says otherwise. */
export function keepsDropout(methods: readonly MethodEntry[]): boolean {
  return methods.every((method) => method.name !== "mixout" || method.p === 0 || method.keepDropout === true);
}

/** The matrices of linear layers. */
function isMixed({ role, kind, shape }: ParameterInfo): boolean {
  return kind === "weight" && shape.length === 2 && mixedRoles.has(role);
}
