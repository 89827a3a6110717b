import { change, isDecayed, type Method } from "./method.js";

/**
 * Decay towards the values at the start of fine-tuning (paper, Sec. 7; Lee et al. 2020): p -= lambda * (p - start) as
 * the paper prints it, p -= lr * lambda * (p - start) as its released code does. A head or block that was drawn anew
 * is pulled to what was drawn.
 */
export function pretrainedWeightDecay(lambda: number, options: { scaledByLr: boolean }): Method {
  return (parameters) =>
    change(parameters, isDecayed, {
      weightDecay: lambda,
      decayTowards: "start",
      decayScaledByLr: options.scaledByLr,
    });
}
