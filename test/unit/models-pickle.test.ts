import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { CheckpointError } from "#src/errors.js";
import { openPickle } from "#src/models/pickle.js";
import { readSafetensors } from "#src/models/safetensors.js";
import { goldenCheckpoint, modelFixture } from "../helpers/checkpoint.js";
import { global, integer, pickle, stateDict, tensor, text, tuple, zip } from "../helpers/pickled.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

for (const [format, file] of [
  ["zip", "state.bin"],
  ["old", "state-legacy.bin"],
] as const) {
  test(`torch.save's ${format} format: views, tied and all kinds of tensors equal PyTorch's own values`, async (t) => {
    const { tensors } = await readSafetensors(modelFixture("state.safetensors"));
    await using file_ = await openPickle(modelFixture(file));
    t.deepEqual([...file_.tensors.keys()].sort(), [...tensors.keys()].sort());
    for (const [name, expected] of tensors) {
      const { dtype, shape } = file_.tensors.get(name)!;
      t.deepEqual({ dtype, shape, data: await file_.read(name) }, expected, name);
    }
  });
}

test("the old spelling of BERT holds the same values as its safetensors", async (t) => {
  const { tensors } = await readSafetensors(join(goldenCheckpoint("bert-classification"), "model.safetensors"));
  await using file = await openPickle(join(goldenCheckpoint("bert-legacy-bin"), "pytorch_model.bin"));
  let compared = 0;
  for (const name of file.tensors.keys()) {
    const expected = tensors.get(name.replace("gamma", "weight").replace("beta", "bias"));
    if (!expected) continue;
    t.deepEqual(await file.read(name), expected.data, name);
    compared++;
  }
  t.is(compared, 71);
});

const values = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);

function stateFile(
  data: Uint8Array,
  storages: Record<string, Uint8Array> = { "0": values },
): Record<string, Uint8Array> {
  const files = Object.entries(storages).map(([key, bytes]) => [`archive/data/${key}`, bytes]);
  return { "archive/data.pkl": data, ...(Object.fromEntries(files) as Record<string, Uint8Array>) };
}

async function write(t: ExecutionContext, bytes: Uint8Array): Promise<string> {
  const path = join(temporaryFolder(t), "pytorch_model.bin");
  await writeFile(path, bytes);
  return path;
}

/** A file of these bytes must be refused with its path and one sentence. */
async function refused(t: ExecutionContext, bytes: Uint8Array): Promise<string> {
  const path = await write(t, bytes);
  const error = await t.throwsAsync(openPickle(path), { instanceOf: CheckpointError });
  t.true(error.message.startsWith(path));
  return error.message.slice(path.length);
}

for (const zip64 of [false, true]) {
  test(`a state dict put together by hand is read, from a zip${zip64 ? "64" : ""}`, async (t) => {
    const path = await write(t, zip(stateFile(stateDict({ a: tensor(), b: tensor({ stride: [1, 2] }) })), { zip64 }));
    await using file = await openPickle(path);
    t.deepEqual([...new Float32Array((await file.read("a")).buffer)], [1, 2, 3, 4]);
    t.deepEqual([...new Float32Array((await file.read("b")).buffer)], [1, 3, 2, 4]);
  });
}

test("whatever a pickle asks to call is refused by name, and not called", async (t) => {
  const run = pickle(global("posix", "system"), tuple(text("touch /tmp/steadytune-was-here")), "R");
  t.regex(await refused(t, zip(stateFile(run))), /refers to "posix.system", which is no part of a file of weights/);
  for (const [module, name] of [
    ["builtins", "eval"],
    ["torch", "load"],
    ["torch.storage", "_load_from_bytes"],
    ["collections", "OrderedDict.__init__"],
    ["__proto__", "toString"],
    ["", "constructor"],
  ] as const) {
    t.true((await refused(t, zip(stateFile(pickle(global(module, name)))))).includes(`"${module}.${name}"`));
  }
});

test("every opcode outside the list is refused", async (t) => {
  const allowed = [..."N\x88\x89JKM\x8aGXU}])(t\x85\x86\x87aesuqrhjcQRb.\x80"].map((code) => code.charCodeAt(0));
  for (let opcode = 0; opcode < 256; opcode++) {
    if (allowed.includes(opcode)) continue;
    const hex = opcode.toString(16).padStart(2, "0");
    t.true((await refused(t, zip(stateFile(pickle(opcode))))).includes(`the pickle opcode 0x${hex}`));
  }
});

test("another pickle protocol is refused", async (t) => {
  const bytes = pickle("}");
  bytes[1] = 4;
  t.regex(await refused(t, zip(stateFile(bytes))), /pickle protocol 4/);
});

test("only storages and dicts can be made; calling, appending to, or building anything else is refused", async (t) => {
  const cases: [Buffer, RegExp][] = [
    [pickle(text("a"), ")", "R"), /a call of something that cannot be called/],
    [pickle(global("torch", "FloatStorage"), ")", "R"), /a call of something that cannot be called/],
    [pickle(global("collections", "OrderedDict"), tuple("]"), "R"), /an OrderedDict that is not made empty/],
    [pickle("N", "N", "a"), /appends to what is no list/],
    [pickle("]", "NN", "s"), /sets items of what is no dict/],
    [pickle("}", "(", "]N", "u"), /a key that is neither text nor a number/],
    [pickle("}", "(", text("a"), "N", text("a"), "N", "u"), /the key "a" twice/],
    [pickle("]", "}", "b"), /an object with attributes/],
    [pickle("t"), /misses a mark/],
    [pickle("\x86"), /an empty stack/],
    [pickle("h\x00"), /recalls what it never remembered/],
    [pickle("q\x00"), /remembers nothing/],
    [pickle("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"), /the number 9223372036854775807/],
    [pickle("N", "Q"), /a storage of numbers/],
    [pickle(global("torch._utils", "_rebuild_tensor_v2"), ")", "R"), /a tensor without a storage/],
    [pickle(global("torch._utils", "_rebuild_parameter"), ")", "R"), /a parameter that is not a tensor/],
  ];
  for (const [bytes, reason] of cases) t.regex(await refused(t, zip(stateFile(bytes))), reason);
});

test("a tensor that reaches beyond its storage, or repeats it, is refused", async (t) => {
  for (const change of [
    { shape: [2, 3], stride: [3, 1] },
    { offset: 1 },
    { stride: [3, 1] },
    { shape: [1000, 4], stride: [0, 1] },
    { shape: [2 ** 30, 2 ** 30, 2 ** 30], stride: [0, 0, 0] },
  ]) {
    t.regex(await refused(t, zip(stateFile(stateDict({ a: tensor(change) })))), /does not fit in its storage/);
  }
  const bytes = zip(stateFile(stateDict({ a: tensor({ offset: -1 }) })));
  t.regex(await refused(t, bytes), /an offset|offset is not a whole number/);
  t.regex(
    await refused(t, zip(stateFile(stateDict({ a: tensor({ stride: [1] }) })))),
    /not two lists of whole numbers/,
  );
  const missing = zip(stateFile(stateDict({ a: tensor({ key: "../9" }) })));
  t.regex(await refused(t, missing), /lacks the storage \.\.\/9 of the tensor a/);
  const short = zip(stateFile(stateDict({ a: tensor() }), { "0": values.subarray(0, 12) }));
  t.regex(await refused(t, short), /takes 12 bytes, not those of 4 elements of F32/);
});

test("a file of anything but named tensors is refused", async (t) => {
  t.regex(await refused(t, await readFile(modelFixture("training.bin"))), /holds "model", which is not a tensor/);
  t.regex(await refused(t, await readFile(modelFixture("broadcast.bin"))), /\[1000, 2\] that does not fit/);
  t.regex(await refused(t, zip(stateFile(pickle(integer(3))))), /does not hold a state dict/);
  t.regex(await refused(t, zip({ "a.txt": values })), /is a zip, but not one of torch.save/);
  t.regex(await refused(t, Buffer.from("not a checkpoint")), /is not a file of torch.save/);
  t.is(await refused(t, new Uint8Array()), " is empty.");
});

test("a big-endian file is refused", async (t) => {
  const files = { ...stateFile(stateDict({ a: tensor() })), "archive/byteorder": Buffer.from("big") };
  t.regex(await refused(t, zip(files)), /was written on a big-endian machine/);
});

test("a zip that is compressed, cut off, or has two entries of one name is refused", async (t) => {
  const files = stateFile(stateDict({ a: tensor() }));
  const whole = zip(files);
  t.regex(await refused(t, zip(files, { method: 8 })), /"archive\/data.pkl" is compressed/);
  for (let length = 2; length < whole.length; length += 9) {
    t.regex(await refused(t, whole.subarray(0, length)), /it has no end record|is not a file of torch.save/);
  }
  const double = Buffer.from(
    zip({ ...files, "archive/data/1": values })
      .toString("latin1")
      .replaceAll("data/1", "data/0"),
    "latin1",
  );
  t.regex(await refused(t, double), /the entry "archive\/data\/0" stands there twice/);
});

test("a file of the old format that is cut off anywhere is refused", async (t) => {
  const whole = await readFile(modelFixture("state-legacy.bin"));
  for (let length = 1; length < whole.length; length += 23) await refused(t, whole.subarray(0, length));
  t.pass();
});
