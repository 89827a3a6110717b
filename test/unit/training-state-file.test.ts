import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { StateError } from "#src/errors.js";
import { readStateFile, writeStateFile } from "#src/training/state-file.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const content = { step: 7, note: "größer" };
const arrays = () =>
  new Map([
    ["parameters", Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i))],
    ["start", new Float32Array()],
    ["best.pooler.bias", Float32Array.of(NaN, -0, Infinity)],
  ]);

test("a state file gives back what was written, bit for bit", async (t) => {
  const path = join(temporaryFolder(t), "state.bin");
  await writeStateFile(path, { content, arrays: arrays() });
  const read = await readStateFile<typeof content>(path);
  t.deepEqual(read.content, content);
  for (const [name, values] of arrays()) {
    t.deepEqual(
      new Uint32Array(read.arrays.get(name)?.buffer ?? new ArrayBuffer(4)),
      new Uint32Array(values.buffer),
      name,
    );
  }
});

test("arrays larger than one piece survive", async (t) => {
  const path = join(temporaryFolder(t), "state.bin");
  const values = Float32Array.from({ length: 5 * 2 ** 20 }, (_, i) => i);
  await writeStateFile(path, { content, arrays: new Map([["parameters", values]]) });
  const read = (await readStateFile(path)).arrays.get("parameters");
  t.is(Buffer.compare(Buffer.from(read?.buffer ?? new ArrayBuffer(0)), Buffer.from(values.buffer)), 0);
});

test("a file cut off anywhere is refused with its path", async (t) => {
  const path = join(temporaryFolder(t), "state.bin");
  await writeStateFile(path, { content, arrays: arrays() });
  const whole = readFileSync(path);
  for (const length of [0, 4, 8, 11, 12, 40, whole.length >> 1, whole.length - 4, whole.length - 1]) {
    writeFileSync(path, whole.subarray(0, length));
    const error = await t.throwsAsync(readStateFile(path), { instanceOf: StateError }, `${length} bytes`);
    t.true(error?.message.includes(path));
  }
});

test("one flipped bit anywhere is refused", async (t) => {
  const path = join(temporaryFolder(t), "state.bin");
  await writeStateFile(path, { content, arrays: arrays() });
  const whole = readFileSync(path);
  for (let at = 0; at < whole.length; at += 97) {
    const bytes = Buffer.from(whole);
    bytes[at]! ^= 0x10;
    writeFileSync(path, bytes);
    await t.throwsAsync(readStateFile(path), { instanceOf: StateError }, `byte ${at}`);
  }
});

test("a longer file, and one that asks for more memory than it has bytes, are refused", async (t) => {
  const path = join(temporaryFolder(t), "state.bin");
  await writeStateFile(path, { content, arrays: arrays() });
  const whole = readFileSync(path);
  writeFileSync(path, Buffer.concat([whole, Buffer.alloc(4)]));
  await t.throwsAsync(readStateFile(path), { instanceOf: StateError });
  writeFileSync(path, Buffer.from(whole.toString("latin1").replace('"length":1000', '"length":9e15'), "latin1"));
  await t.throwsAsync(readStateFile(path), { instanceOf: StateError });
});
