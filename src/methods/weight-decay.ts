import { change, isDecayed, type Method } from "./method.js";

/** Decoupled weight decay: p -= lr * lambda * p beside each step; biases and LayerNorm are left out (paper, Sec. 7). */
export function weightDecay(lambda: number): Method {
  return (parameters) =>
    change(parameters, isDecayed, { weightDecay: lambda, decayTowards: "zero", decayScaledByLr: true });
}
