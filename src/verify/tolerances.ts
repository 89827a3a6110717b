import type { ComputeDtype } from "../native/types.js";
import { zeroNorm } from "./error.js";

/** The largest relative errors that rounding explains, by what is compared. */
export interface Tolerances {
  /** Hidden states and logits. */
  forward: number;
  loss: number;
  /** The worst parameter's gradient. */
  gradients: number;
  /** Absolute: the norm of gradients that are truly zero, those of key biases. */
  zeroGradients: number;
  /** Losses, gradient norms and distances to the start over twenty steps. */
  series: number;
  finalLogits: number;
  /** After twenty steps. */
  parameters: number;
  /**
   * The true gradient of a key's bias is zero, since softmax does not see it. What Adam divides by the root of its
   * square is rounding noise, so these move a little differently on every machine.
   */
  keyBiases: number;
}

/**
 * float32: what golden/README.md names.
 *
 * bfloat16: it keeps 8 bits, so each operand of a product and each activation is off by up to 2^-9 of itself, and the
 * blocks add that up; master weights, the optimizer and the loss stay float32 and add nothing. Measured on the bundle's
 * own models, transformers under torch.autocast(bfloat16) is this far from its float32 values: logits 6.4e-3, loss
 * 3.3e-4, gradients 4.6e-2, zero gradients 2.8e-6, and after twenty steps losses 5.5e-4, norms 3.4e-3, logits 3.5e-3,
 * parameters 9.2e-3, key biases 1.9e-1. Tolerances are two to three times that, and never more: which values are rounded
 * where differs between two correct programs.
 */
export const tolerancesOf: Record<ComputeDtype, Tolerances> = {
  float32: {
    forward: 2e-5,
    loss: 2e-5,
    gradients: 2e-5,
    zeroGradients: zeroNorm,
    series: 1e-4,
    finalLogits: 1e-4,
    parameters: 1e-4,
    keyBiases: 1e-3,
  },
  bfloat16: {
    forward: 2e-2,
    loss: 1e-3,
    gradients: 1e-1,
    zeroGradients: 8e-6,
    series: 1e-2,
    finalLogits: 1e-2,
    parameters: 2.5e-2,
    keyBiases: 0.5,
  },
};
