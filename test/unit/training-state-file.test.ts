import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { StateError } from "#src/errors.js";
import { piecesOf, readStateFile, writeStateFile, type StoredArray } from "#src/training/state-file.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const content = { step: 7, note: "größer" };
const values = {
  parameters: Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i)),
  start: new Float32Array(),
  "best.pooler.bias": Float32Array.of(NaN, -0, Infinity),
};
const arrays = () => Object.entries(values).map(([name, numbers]) => stored(name, numbers));

function stored(name: string, numbers: Float32Array): StoredArray {
  return { name, length: numbers.length, read: (begin, end) => Promise.resolve(numbers.slice(begin, end)) };
}

const bitsOf = (numbers: Float32Array) => new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);

test("a state file gives back what was written, bit for bit", async (t) => {
  const path = join(temporaryFolder(t), "state.bin");
  await writeStateFile(path, { content, arrays: arrays() });
  const read = await readStateFile<typeof content>(path);
  t.deepEqual(read.content, content);
  t.deepEqual(
    read.arrays.map(({ name }) => name),
    Object.keys(values),
  );
  for (const { name, length, read: numbers } of read.arrays) {
    t.deepEqual(bitsOf(await numbers(0, length)), bitsOf(values[name as keyof typeof values]), name);
  }
});

test("an array larger than a piece is written and read piece by piece, and let go of before the file is on the disk", async (t) => {
  const path = join(temporaryFolder(t), "state.bin");
  const large = Float32Array.from({ length: 5 * 2 ** 20 }, (_, i) => i);
  const asked: number[] = [];
  const source = stored("parameters", large);
  const watched = {
    ...source,
    read: (begin: number, end: number) => (asked.push(end - begin), source.read(begin, end)),
  };
  let stoodWhenRead = true;
  await writeStateFile(path, { content, arrays: [watched] }, () => (stoodWhenRead = existsSync(path)));
  t.false(stoodWhenRead);
  t.deepEqual(
    asked,
    Array.from({ length: 20 }, () => 2 ** 18),
  );
  const [array] = (await readStateFile(path)).arrays;
  t.deepEqual(await array!.read(3, 7), large.slice(3, 7));
  let next = 0;
  for await (const { begin, values: piece } of piecesOf(array!)) {
    t.is(begin, next);
    t.is(Buffer.compare(Buffer.from(piece.buffer), Buffer.from(large.buffer, 4 * begin, piece.byteLength)), 0);
    next += piece.length;
  }
  t.is(next, large.length);
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
