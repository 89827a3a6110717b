import { join } from "node:path";
import { toCheckpointName } from "../models/key-map.js";
import { openReferenceSession, type ReferenceOptions } from "./reference-session.js";
import { packReference, ReferenceFile } from "./reference.js";
import type { Recorder } from "./report.js";
import { tolerancesOf } from "./tolerances.js";

/** A tiny checkpoint against `expected.safetensors`: hidden state, logits, loss, and the gradient of every parameter. */
export async function checkEncoder(
  bundle: string,
  name: string,
  options: ReferenceOptions,
  record: Recorder,
): Promise<void> {
  const folder = join(bundle, name);
  const expected = await ReferenceFile.open(join(folder, "expected.safetensors"));
  await using model = await openReferenceSession(folder, options);
  const { session, config } = model;
  const tolerances = tolerancesOf[options.dtype];
  const { packed, places } = packReference(expected, config.shape.problem);

  const { logits, loss, hiddenStates } = await session.forward(packed, { hiddenStates: true });
  if (expected.has("last_hidden_state")) {
    const { hiddenSize } = config.shape;
    const { shape, values } = expected.get("last_hidden_state");
    const last = hiddenStates?.slice(-places.length * hiddenSize) ?? new Float32Array();
    const padded = new Float32Array(values.length);
    const reference = new Float32Array(values.length); // padded positions mean nothing there, and are 0 in both
    places.forEach((place, token) => {
      padded.set(last.subarray(token * hiddenSize, (token + 1) * hiddenSize), place * hiddenSize);
      reference.set(values.subarray(place * hiddenSize, (place + 1) * hiddenSize), place * hiddenSize);
    });
    record.compare(`${name}/last_hidden_state`, shape, padded, reference, tolerances.forward);
  }
  const reference = expected.get("logits");
  record.compare(`${name}/logits`, reference.shape, logits, reference.values, tolerances.forward);
  const mean = expected.get("loss");
  record.compare(`${name}/loss`, mean.shape, Float32Array.of(loss ?? NaN), mean.values, tolerances.loss);

  await session.gradients(packed);
  const pairs = [];
  for (const parameter of session.parameters) {
    const key = `grad.${toCheckpointName(config.shape.family, parameter.name)}`;
    const computed = await session.readGradient(parameter.name);
    record.tensors.add(`${name}/${key}`, parameter.shape, computed);
    // transformers computes none for what a family keeps but does not use: XLNet's mask_emb.
    const reference = expected.has(key) ? expected.get(key).values : new Float32Array(computed.length);
    pairs.push({ computed, reference });
  }
  record.compareAll(`${name}/gradients`, pairs, tolerances.gradients, tolerances.zeroGradients);
}
