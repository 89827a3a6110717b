import { readFile } from "node:fs/promises";
import test, { type ExecutionContext } from "ava";
import { CheckpointError } from "#src/errors.js";
import { openPickle } from "#src/models/pickle.js";
import { openSafetensors } from "#src/models/safetensors.js";
import type { RandomAccessFile, TensorFile } from "#src/models/tensor-file.js";
import { modelFixture } from "../helpers/checkpoint.js";
import { randomIntegers } from "../helpers/random-integers.js";

/** Flips bits, sets bytes, swaps in odd numbers, cuts and doubles pieces. */
function damage(whole: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(whole);
  for (let count = 1 + random(4); count > 0 && bytes.length > 8; count--) {
    const at = random(bytes.length - 8);
    const kind = random(6);
    if (kind === 0) bytes[at]! ^= 1 << random(8);
    else if (kind === 1) bytes[at] = random(256);
    else if (kind === 2) bytes.writeUInt32LE([0, 0xffffffff, 0x7fffffff, 0x80000000][random(4)]!, at);
    else if (kind === 3) bytes.writeBigUInt64LE([0n, 2n ** 64n - 1n, 2n ** 53n, 2n ** 63n][random(4)]!, at);
    else if (kind === 4) bytes = bytes.subarray(0, at);
    else bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at - random(at + 1))]);
  }
  return bytes;
}

const rounds = 4000;

/** Thousands of files would take their time on a disk. A read beyond the end is refused as the real one refuses it. */
function inMemory(bytes: Buffer): RandomAccessFile {
  const close = async (): Promise<void> => {};
  return {
    path: "damaged",
    size: bytes.length,
    read: async (position, length) => {
      if (position + length > bytes.length) throw new CheckpointError("damaged ends in the middle of its data.");
      return new Uint8Array(bytes.subarray(position, position + length));
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Every damaged file must be read to its end, or refused with a CheckpointError, within bounds of time and memory. */
async function survives(
  t: ExecutionContext,
  file: string,
  open: (file: RandomAccessFile) => Promise<TensorFile>,
): Promise<void> {
  t.timeout(120_000);
  const whole = await readFile(modelFixture(file));
  const outcomes = { read: 0, refused: 0 };
  for (let round = 1; round <= rounds; round++) {
    const damaged = inMemory(damage(whole, randomIntegers(round)));
    const before = process.memoryUsage().arrayBuffers;
    const start = performance.now();
    try {
      await using tensors = await open(damaged);
      for (const [name, { byteLength }] of tensors.tensors) {
        const data = await tensors.read(name);
        if (data.length !== byteLength) t.fail(`round ${round}: ${name} has ${data.length} bytes, not ${byteLength}`);
      }
      outcomes.read++;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw new Error(`round ${round}`, { cause: error });
      outcomes.refused++;
    }
    if (performance.now() - start > 2000) t.fail(`round ${round} took more than 2 s`);
    if (process.memoryUsage().arrayBuffers - before > 2 ** 24) t.fail(`round ${round} asked for more than 16 MiB`);
  }
  t.log(outcomes);
  t.true(outcomes.read > 0 && outcomes.refused > 0);
}

test("a damaged safetensors is read or refused, nothing else", async (t) => {
  await survives(t, "state.safetensors", openSafetensors);
});

test("a damaged pytorch_model.bin is read or refused, nothing else", async (t) => {
  await survives(t, "state.bin", openPickle);
});

test("a damaged pytorch_model.bin of the old format is read or refused, nothing else", async (t) => {
  await survives(t, "state-legacy.bin", openPickle);
});
