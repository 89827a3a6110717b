import { join } from "node:path";
import { loadAddon } from "../native/load.js";
import { ReferenceFile } from "./reference.js";
import type { Recorder } from "./report.js";
import { tolerancesOf } from "./tolerances.js";

/** Weights are mixed in float32, whatever dtype they are multiplied in. */
const { forward, gradients: gradientTolerance } = tolerancesOf.float32;

/** One linear layer under given mixout masks, per element and per column: its output and exact gradients. */
export async function checkMixout(bundle: string, record: Recorder): Promise<void> {
  const expected = await ReferenceFile.open(join(bundle, "mixout.safetensors"));
  const values = (name: string) => expected.get(name).values;
  const [outputs = 0, inputs = 0] = expected.get("weight").shape;
  for (const name of expected.names) {
    const [, key, kind, p] = /^((element|column)\.p(.+))\.mask$/.exec(name) ?? [];
    if (key === undefined) continue;
    const mask = kind === "column" ? "column" : "element";
    const { output, gradX, gradWeight, gradBias } = await loadAddon().mixout(
      {
        inputs,
        outputs,
        x: values("x"),
        weight: values("weight"),
        target: values("target"),
        bias: values("bias"),
        // A mask per column stands there once for every row.
        mask: mask === "column" ? values(name).slice(0, inputs) : values(name),
        gradOutput: values("grad_output"),
      },
      { p: Number(p), mask, gradient: "exact" },
    );
    const reference = expected.get(`${key}.output`);
    record.compare(`mixout/${key}.output`, reference.shape, output, reference.values, forward);
    const gradients = { grad_x: gradX, grad_weight: gradWeight, grad_bias: gradBias };
    const pairs = Object.entries(gradients).map(([what, computed]) => {
      const { shape, values } = expected.get(`${key}.${what}`);
      record.tensors.add(`mixout/${key}.${what}`, shape, computed);
      return { computed, reference: values };
    });
    record.compareAll(`mixout/${key}.gradients`, pairs, gradientTolerance);
  }
}
