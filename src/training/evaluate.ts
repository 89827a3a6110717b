import { evaluationBatches, packBatch } from "../data/batches.js";
import type { EncodedSplit } from "../data/encoded.js";
import { AbortedError } from "../errors.js";
import type { Session } from "../native/session.js";

/** Batches in the native queue at once: one at work, one behind it. */
const ahead = 2;

/**
 * Forward without dropout over a whole split, `batchSize` rows at a time or more where they are short.
 *
 * @returns the logits, [rows, outputs] in the order of the split.
 * @throws AbortedError between two batches.
 */
export async function forwardSplit(
  session: Session,
  split: EncodedSplit,
  { batchSize, signal }: { batchSize: number; signal?: AbortSignal | undefined },
): Promise<Float32Array> {
  const parts: Promise<Float32Array>[] = [];
  for (const rows of evaluationBatches(split, batchSize)) {
    await parts[parts.length - ahead];
    if (signal?.aborted) throw new AbortedError();
    const part = session.forward(packBatch(split, rows)).then(({ logits }) => logits);
    part.catch(() => {}); // awaited below; until then a failure must not count as unhandled
    parts.push(part);
  }
  return concatenate(await Promise.all(parts));
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
