import type { ParameterInfo, ParameterPlan, StepOptions } from "#src/native/types.js";

/** A plan that trains every parameter at the full rate without decay. */
export function plainPlan(parameters: readonly ParameterInfo[]): ParameterPlan[] {
  return parameters.map(() => ({
    frozen: false,
    lrScale: 1,
    weightDecay: 0,
    decayTowards: "zero",
    decayScaledByLr: true,
    reset: "none",
    mixout: null,
  }));
}

/** The paper's optimizer settings; `step` 1 unless given. */
export function stepOptions(changes: Partial<StepOptions> = {}): StepOptions {
  return {
    step: 1,
    learningRate: 1e-3,
    betas: [0.9, 0.999],
    eps: 1e-8,
    biasCorrection: true,
    maxGradNorm: 1,
    orderSeed: 0,
    dropout: true,
    ...changes,
  };
}
