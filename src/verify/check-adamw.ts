import { join } from "node:path";
import { loadAddon } from "../native/load.js";
import { readReferenceJson, ReferenceFile } from "./reference.js";
import type { Recorder } from "./report.js";
import { tolerancesOf } from "./tolerances.js";

interface AdamwSettings {
  lr: number;
  betas: [number, number];
  eps: number;
  weight_decay: number;
}

/** The optimizer alone, which is float32 in every dtype, with and without bias correction, after each of its steps. */
export async function checkAdamw(bundle: string, record: Recorder): Promise<void> {
  const settings = await readReferenceJson<AdamwSettings>(join(bundle, "adamw.json"));
  const expected = await ReferenceFile.open(join(bundle, "adamw.safetensors"));
  const { values } = expected.get("p0");
  const all = expected.get("grads").values;
  const gradients = Array.from({ length: all.length / values.length }, (_, i) =>
    all.slice(i * values.length, (i + 1) * values.length),
  );
  for (const arm of ["debiased", "biased"] as const) {
    const steps = await loadAddon().adamw(values, gradients, {
      learningRate: settings.lr,
      betas: settings.betas,
      eps: settings.eps,
      biasCorrection: arm === "debiased",
      weightDecay: settings.weight_decay,
    });
    const computed = new Float32Array(all.length);
    steps.forEach((step, i) => computed.set(step, i * values.length));
    const reference = expected.get(arm);
    record.compare(`adamw/${arm}`, reference.shape, computed, reference.values, tolerancesOf.float32.forward);
  }
}
