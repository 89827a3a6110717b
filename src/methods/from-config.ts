import { keepsHeadDecay } from "../config/check.js";
import type { MethodConfig } from "../config/schema.js";
import { freeze } from "./freeze.js";
import { llrd } from "./llrd.js";
import { mixout } from "./mixout.js";
import type { Method } from "./method.js";
import { pretrainedWeightDecay } from "./pretrained-weight-decay.js";
import { reinit } from "./reinit.js";
import { weightDecay } from "./weight-decay.js";

export interface MethodSetting {
  /**
   * "released" does as the paper's released code does: plain weight decay does nothing there, the decay towards the
   * start is scaled by the learning rate, LLRD takes the head out of it, and mixout masks whole columns with gradients
   * that lack 1 / (1 - p).
   */
  protocol: "paper" | "released";
  /** Standard deviation of fresh weights: the model's `initializer_range`. */
  std: number;
}

/** The method that an entry of a config's `methods` names. */
export function methodFromConfig(entry: MethodConfig, { protocol, std }: MethodSetting): Method {
  switch (entry.name) {
    case "weight-decay":
      return weightDecay(protocol === "released" ? 0 : entry.lambda);
    case "pretrained-weight-decay":
      return pretrainedWeightDecay(entry.lambda, { scaledByLr: protocol === "released" });
    case "llrd":
      return llrd(entry.decay, { headDecay: keepsHeadDecay(entry, protocol) });
    case "freeze":
      return freeze(entry.roles);
    case "mixout": {
      const released = protocol === "released";
      const { p, mask = released ? "column" : "element", gradient = released ? "released" : "exact" } = entry;
      return mixout({ p, mask, gradient });
    }
    case "reinit":
      return reinit(entry.layers, std);
  }
}
