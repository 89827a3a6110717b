import { join } from "node:path";
import { loadWeights } from "../models/weights.js";
import { openReferenceSession, type ReferenceOptions, type ReferenceSession } from "./reference-session.js";
import { packReference, ReferenceFile } from "./reference.js";
import type { Recorder } from "./report.js";
import { tolerancesOf } from "./tolerances.js";

const original = "bert-classification";

/** The weights of the classifier checkpoint without its head, in a pickled file of the first spelling. */
export async function checkLegacyFile(
  bundle: string,
  name: string,
  options: ReferenceOptions,
  record: Recorder,
): Promise<void> {
  const folder = join(bundle, name);
  // The classifier comes from the checkpoint it was taken from, everything else from the old file.
  await using model = await openReferenceSession(join(bundle, original), options);
  const { session, config } = model;
  const kept = new Map<string, Float32Array>();
  for (const { name: parameter, role } of session.parameters) {
    if (role !== "classifier") kept.set(parameter, await session.readParameter(parameter));
  }
  for (const [parameter, { length }] of kept) {
    await session.load({ [parameter]: { dtype: "float32", data: new Uint8Array(4 * length) } });
  }
  await loadWeights(folder, config, session.parameters, (tensors) => session.load(tensors));

  const pairs = [];
  for (const [parameter, reference] of kept) {
    pairs.push({ computed: await session.readParameter(parameter), reference });
  }
  record.compareAll(`${name}/parameters`, pairs, 0);
  await compareLogits(bundle, name, model, record, tolerancesOf[options.dtype].forward);
}

/** The same weights stored as bfloat16: they are the float32 ones rounded to nearest, and the logits stay close. */
export async function checkBfloat16File(
  bundle: string,
  name: string,
  options: ReferenceOptions,
  record: Recorder,
): Promise<void> {
  await using exact = await openReferenceSession(join(bundle, original), options);
  await using model = await openReferenceSession(join(bundle, name), options);
  const pairs = [];
  for (const { name: parameter } of model.session.parameters) {
    pairs.push({
      computed: await model.session.readParameter(parameter),
      reference: (await exact.session.readParameter(parameter)).map(roundToBfloat16),
    });
  }
  record.compareAll(`${name}/parameters`, pairs, 0);
  await compareLogits(bundle, name, model, record, tolerancesOf.bfloat16.forward);
}

async function compareLogits(
  bundle: string,
  name: string,
  { session, config }: ReferenceSession,
  record: Recorder,
  tolerance: number,
): Promise<void> {
  const expected = await ReferenceFile.open(join(bundle, original, "expected.safetensors"));
  const { logits } = await session.forward(packReference(expected, config.shape.problem).packed);
  const reference = expected.get("logits");
  record.compare(`${name}/logits`, reference.shape, logits, reference.values, tolerance);
}

/** Round to nearest, ties to even. */
function roundToBfloat16(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  const bits = view.getUint32(0);
  view.setUint32(0, ((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000) >>> 0);
  return view.getFloat32(0);
}
