import { open, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { CheckpointError, OutputError } from "#src/errors.js";
import { openSafetensors, readSafetensors, writeSafetensors, type TensorSource } from "#src/models/safetensors.js";
import { f32, goldenCheckpoint, modelFixture, safetensorsBytes } from "../helpers/checkpoint.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

test("a file that the reference implementation wrote is written again byte for byte", async (t) => {
  const folder = temporaryFolder(t);
  const golden = ["bert-classification", "bert-bf16", "xlnet-classification"];
  for (const path of [
    ...golden.map((name) => join(goldenCheckpoint(name), "model.safetensors")),
    modelFixture("state.safetensors"),
  ]) {
    const { tensors, metadata } = await readSafetensors(path);
    await writeSafetensors(join(folder, "again.safetensors"), tensors, metadata);
    t.deepEqual(await readFile(join(folder, "again.safetensors")), await readFile(path), path);
  }
});

test("values, shapes and metadata come back as they were written", async (t) => {
  const path = join(temporaryFolder(t), "x.safetensors");
  const steps = new BigInt64Array([1n, -2n, 2n ** 40n]);
  await writeSafetensors(
    path,
    new Map<string, TensorSource>([
      ["b", f32([1, 2, 3, 4, 5, 6], [2, 3])],
      ["scalar", f32([0.5], [])],
      ["none", f32([], [0, 7])],
      ["7", { dtype: "BOOL", shape: [3], data: Uint8Array.of(1, 0, 1) }],
      ["ü 漢", { dtype: "I64", shape: [3], data: new Uint8Array(steps.buffer) }],
    ]),
    { format: "pt", note: 'quotes " and \n lines' },
  );
  const { tensors, metadata } = await readSafetensors(path);
  t.deepEqual(metadata, { format: "pt", note: 'quotes " and \n lines' });
  t.deepEqual([...tensors.keys()].sort(), ["7", "b", "none", "scalar", "ü 漢"]);
  t.deepEqual(tensors.get("b")?.shape, [2, 3]);
  t.deepEqual([...new Float32Array(tensors.get("b")!.data.buffer)], [1, 2, 3, 4, 5, 6]);
  t.deepEqual(tensors.get("scalar")?.shape, []);
  t.deepEqual(tensors.get("none"), { dtype: "F32", shape: [0, 7], data: new Uint8Array(0) });
  t.deepEqual([...new BigInt64Array(tensors.get("ü 漢")!.data.buffer)], [...steps]);
});

test("tensors given as functions are asked for one at a time, when they are written", async (t) => {
  const path = join(temporaryFolder(t), "x.safetensors");
  let open = 0;
  const lazy = (value: number): TensorSource => ({
    ...f32([value]),
    data: async () => {
      t.is(++open, 1);
      await Promise.resolve();
      open--;
      return f32([value]).data;
    },
  });
  await writeSafetensors(
    path,
    new Map([
      ["a", lazy(1)],
      ["b", lazy(2)],
    ]),
  );
  const { tensors } = await readSafetensors(path);
  t.deepEqual(
    [...tensors.values()].map(({ data }) => new Float32Array(data.buffer)[0]),
    [1, 2],
  );
});

test("a tensor whose bytes do not fit its shape is not written, and the old file stays", async (t) => {
  const path = join(temporaryFolder(t), "x.safetensors");
  await writeSafetensors(path, new Map([["a", f32([1])]]));
  const before = await readFile(path);
  await t.throwsAsync(writeSafetensors(path, new Map([["a", { ...f32([1]), shape: [2] }]])), { code: "ERR_INTERNAL" });
  t.deepEqual(await readFile(path), before);
});

test("a folder that does not exist is an error of the output that names the file", async (t) => {
  const path = join(temporaryFolder(t), "missing/x.safetensors");
  const error = await t.throwsAsync(writeSafetensors(path, new Map()), { instanceOf: OutputError });
  t.true(error.message.includes(path));
});

test("data beyond 4 GiB is read by its position, without reading what lies before", async (t) => {
  const path = join(temporaryFolder(t), "large.safetensors");
  const gap = 5 * 2 ** 30;
  const header = safetensorsBytes({
    gap: { dtype: "U8", shape: [gap], data_offsets: [0, gap] },
    last: { dtype: "F32", shape: [1], data_offsets: [gap, gap + 4] },
  });
  const file = await open(path, "w");
  await file.write(header);
  // A hole: it takes no room on the disk.
  await file.write(f32([42]).data, 0, 4, header.length + gap);
  await file.close();
  await using large = await openSafetensors(path);
  t.is(large.tensors.get("gap")?.byteLength, gap);
  await t.throwsAsync(large.read("gap"), { instanceOf: CheckpointError, message: /too many to read at once/ });
  t.is(new Float32Array((await large.read("last")).buffer)[0], 42);
});

/** Opens a file with these bytes; it must be refused with its path. */
async function refused(t: ExecutionContext, bytes: Uint8Array): Promise<string> {
  const path = join(temporaryFolder(t), "model.safetensors");
  await writeFile(path, bytes);
  const error = await t.throwsAsync(openSafetensors(path), { instanceOf: CheckpointError });
  t.true(error.message.startsWith(path));
  t.regex(error.message, /^[^\n]+\.$/);
  return error.message.slice(path.length);
}

const one = { dtype: "F32", shape: [2], data_offsets: [0, 8] };

test("a file that is missing is refused", async (t) => {
  await t.throwsAsync(openSafetensors("/no/such/file"), {
    instanceOf: CheckpointError,
    message: "/no/such/file cannot be read: it does not exist.",
  });
});

test("an empty file is refused", async (t) => {
  t.is(await refused(t, new Uint8Array()), " is empty.");
});

test("a file too short for the header's length is refused", async (t) => {
  t.regex(await refused(t, Uint8Array.of(1, 2, 3)), /it is only 3 bytes long/);
});

test("a header longer than the file is refused", async (t) => {
  const bytes = safetensorsBytes({ a: one }, 8);
  bytes.writeBigUInt64LE(2n ** 63n, 0);
  t.regex(await refused(t, bytes), /its header is said to take 9223372036854775808 bytes, but the file ends after 70/);
});

test("a header above the format's limit is refused before it is read", async (t) => {
  const path = join(temporaryFolder(t), "model.safetensors");
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(100_000_001n);
  const file = await open(path, "w");
  await file.write(prefix);
  await file.truncate(200_000_000);
  await file.close();
  await t.throwsAsync(openSafetensors(path), { message: /100000001 bytes, above the format's limit of 100000000/ });
});

test("a header that is not JSON, not UTF-8, or no object is refused", async (t) => {
  t.regex(await refused(t, safetensorsBytes('{"a": ', 8)), /its header is not the JSON/);
  t.regex(await refused(t, safetensorsBytes("[]")), /its header is not a JSON object/);
  const bytes = safetensorsBytes({ a: one }, 8);
  bytes[10] = 0xff;
  t.regex(await refused(t, bytes), /it is not UTF-8/);
});

test("the same tensor twice is refused", async (t) => {
  const entry = JSON.stringify(one);
  t.regex(await refused(t, safetensorsBytes(`{"a":${entry},"\\u0061":${entry}}`, 8)), /the key "a" stands there twice/);
  const twice = '{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}';
  t.regex(await refused(t, safetensorsBytes(twice, 8)), /the key "shape" stands there twice/);
});

test("overlapping tensors are refused", async (t) => {
  const header = { a: one, b: { ...one, data_offsets: [4, 12] } };
  t.regex(await refused(t, safetensorsBytes(header, 12)), /tensors "a" and "b" overlap/);
});

test("a tensor beyond the end of the file is refused", async (t) => {
  t.regex(await refused(t, safetensorsBytes({ a: one }, 7)), /tensor "a" ends at byte 70, but the file after 69/);
});

test("bytes that belong to no tensor are refused", async (t) => {
  t.regex(await refused(t, safetensorsBytes({ a: one }, 9)), /the last 1 bytes belong to no tensor/);
  const header = { a: { ...one, data_offsets: [4, 12] } };
  t.regex(await refused(t, safetensorsBytes(header, 12)), /the 4 bytes before tensor "a" belong to no tensor/);
});

test("a shape that disagrees with the offsets is refused", async (t) => {
  const header = { a: { ...one, shape: [3] } };
  t.regex(
    await refused(t, safetensorsBytes(header, 8)),
    /a shape of \[3\] of F32 takes 12 bytes, but data_offsets span 8/,
  );
});

test("shapes and offsets that are not whole numbers are refused", async (t) => {
  for (const shape of [[-2], [1.5], ["2"], [1e300], [2 ** 40, 2 ** 40], "2", null]) {
    t.regex(await refused(t, safetensorsBytes({ a: { ...one, shape } }, 8)), /"a" has a shape that is not a list/);
  }
  for (const offsets of [[0], [0, 8, 8], [-8, 0], [0.5, 8.5], [0, 1e300], { 0: 0, 1: 8 }, null]) {
    const header = { a: { ...one, data_offsets: offsets } };
    t.regex(await refused(t, safetensorsBytes(header, 8)), /"a" has data_offsets that are not two whole numbers/);
  }
});

test("an unknown element type is refused by name", async (t) => {
  const header = { a: { ...one, dtype: "F31" } };
  t.regex(await refused(t, safetensorsBytes(header, 8)), /tensor "a" has the unknown element type "F31"/);
  t.regex(
    await refused(t, safetensorsBytes({ a: { ...one, dtype: "toString" } }, 8)),
    /unknown element type "toString"/,
  );
});

test("metadata that is not an object of strings is refused", async (t) => {
  t.regex(
    await refused(t, safetensorsBytes({ __metadata__: { a: 1 } })),
    /its __metadata__ is not an object of strings/,
  );
});

test("a file cut off anywhere is refused", async (t) => {
  const path = join(temporaryFolder(t), "model.safetensors");
  const whole = await readFile(modelFixture("state.safetensors"));
  // Every length in the prefix, then every seventeenth.
  for (let length = 0; length < whole.length; length += length < 16 ? 1 : 17) {
    await writeFile(path, whole.subarray(0, length));
    await t.throwsAsync(openSafetensors(path), { instanceOf: CheckpointError }, `${length} bytes`);
  }
});

test("the pointer that Git LFS leaves in place of a file is recognised", async (t) => {
  const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
  t.is(await refused(t, Buffer.from(pointer)), " is a Git LFS pointer, not the file itself.");
});

test("a folder in place of the file is refused", async (t) => {
  const folder = temporaryFolder(t);
  t.true((await stat(folder)).isDirectory());
  await t.throwsAsync(openSafetensors(folder), { instanceOf: CheckpointError, message: `${folder} is not a file.` });
});
