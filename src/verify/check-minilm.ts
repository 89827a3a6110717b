import { join } from "node:path";
import { openReferenceSession, type ReferenceOptions } from "./reference-session.js";
import { packReference, ReferenceFile } from "./reference.js";
import type { Recorder } from "./report.js";
import { tolerancesOf } from "./tolerances.js";

/** Real weights on real text: the first token's hidden state after every layer, and the pooler's output. */
export async function checkMinilm(
  bundle: string,
  name: string,
  modelFolder: string,
  options: ReferenceOptions,
  record: Recorder,
): Promise<void> {
  const expected = await ReferenceFile.open(join(bundle, name, "expected.safetensors"));
  await using model = await openReferenceSession(modelFolder, options);
  const { session, config } = model;
  const tolerance = tolerancesOf[options.dtype].forward;
  const { hiddenSize, layers } = config.shape;
  const { packed } = packReference(expected, config.shape.problem);
  const { hiddenStates, pooled } = await session.forward(packed, { hiddenStates: true });

  const rows = packed.rowNumbers.length;
  const tokens = packed.tokenIds.length;
  const firsts = new Float32Array((layers + 1) * rows * hiddenSize);
  for (let layer = 0; layer <= layers; layer++) {
    for (let row = 0; row < rows; row++) {
      const from = (layer * tokens + packed.rowOffsets[row]!) * hiddenSize;
      firsts.set(hiddenStates?.subarray(from, from + hiddenSize) ?? [], (layer * rows + row) * hiddenSize);
    }
  }
  const byLayer = expected.get("cls_by_layer");
  record.compare(`${name}/cls_by_layer`, byLayer.shape, firsts, byLayer.values, tolerance);
  const reference = expected.get("pooled");
  record.compare(`${name}/pooled`, reference.shape, pooled ?? new Float32Array(), reference.values, tolerance);
}
