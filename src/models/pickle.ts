import { CheckpointError } from "../errors.js";
import { dtypeBytes, elementCount, openRandomAccess } from "./tensor-file.js";
import type { RandomAccessFile, TensorEntry, TensorFile } from "./tensor-file.js";
import { PickledStorage, PickledTensor, unpickle, type PickleValue } from "./unpickle.js";
import { readZipDirectory } from "./zip.js";

/** BERT-large's pickle takes 0.1 MB; the limit keeps a damaged file from asking for all memory. */
const maxPickleBytes = 1 << 24;

/** How files before PyTorch 1.6 begin: a pickle of the number 0x1950a86a20f9469cfc6c. */
const legacyMagic = Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex");
const legacyProtocol = 1001;

/** The names and views in a file, and the place of each storage. */
interface StateDict {
  root: PickleValue;
  /** The storage's first byte and its length in bytes, or null when the file does not hold it. */
  locate(storage: PickledStorage): { position: number; size: number } | null;
}

/**
 * Opens a `pytorch_model.bin`: a state dict written by torch.save, as a zip of a pickle and storages (since PyTorch
 * 1.6) or as pickles with the storages behind them (before). Both are read as data; no code that the pickle names runs.
 *
 * @throws CheckpointError when the file is damaged or holds anything but named tensors.
 */
export async function openPickle(source: string | RandomAccessFile): Promise<TensorFile> {
  const file = typeof source === "string" ? await openRandomAccess(source) : source;
  const { path } = file;
  try {
    const { root, locate } = await readStateDict(file);
    const views = checkViews(path, root, locate);
    return {
      path,
      tensors: new Map([...views].map(([name, { entry }]) => [name, entry])),
      read: async (name) => {
        const view = views.get(name);
        if (!view) throw new CheckpointError(`${path} holds no tensor ${name}.`);
        return readView(file, view.tensor, view.position);
      },
      close: () => file.close(),
      [Symbol.asyncDispose]: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readStateDict(file: RandomAccessFile): Promise<StateDict> {
  const start = Buffer.from(await file.read(0, Math.min(file.size, legacyMagic.length)));
  if (start.subarray(0, 2).toString("latin1") === "PK") return readZip(file);
  if (start.equals(legacyMagic)) return readLegacy(file);
  throw new CheckpointError(`${file.path} is not a file of torch.save.`, {
    hint: "Use a checkpoint with model.safetensors, or save the model's state_dict() with torch.save.",
  });
}

async function readZip(file: RandomAccessFile): Promise<StateDict> {
  const entries = await readZipDirectory(file);
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const pickle = entries.get(pickles[0] ?? "");
  if (!pickle || pickles.length > 1) {
    throw new CheckpointError(`${file.path} is a zip, but not one of torch.save: it has no single data.pkl.`);
  }
  if (pickle.size > maxPickleBytes) {
    throw new CheckpointError(`${file.path} holds a pickle of ${pickle.size} bytes, too large for a state dict.`);
  }
  const folder = (pickles[0] as string).slice(0, -"data.pkl".length);
  const byteOrder = entries.get(`${folder}byteorder`);
  if (byteOrder && byteOrder.size <= 16) {
    const order = Buffer.from(await file.read(byteOrder.position, byteOrder.size)).toString("latin1");
    if (order !== "little") throw wrongByteOrder(file.path);
  }
  const { value: root } = unpickle(file.path, await file.read(pickle.position, pickle.size));
  return { root, locate: ({ key }) => entries.get(`${folder}data/${key}`) ?? null };
}

/** The magic number, the format's version, the machine's, the state dict, the storages' keys: five pickles in a row. */
async function readLegacy(file: RandomAccessFile): Promise<StateDict> {
  const bytes = await file.read(0, Math.min(file.size, maxPickleBytes));
  const version = unpickle(file.path, bytes, legacyMagic.length);
  if (version.value !== legacyProtocol) {
    throw new CheckpointError(`${file.path} is of an unknown version of torch.save's old format.`);
  }
  const machine = unpickle(file.path, bytes, version.end);
  if (machine.value instanceof Map && machine.value.get("little_endian") !== true) throw wrongByteOrder(file.path);
  const root = unpickle(file.path, bytes, machine.end);
  const keys = unpickle(file.path, bytes, root.end);
  const storages = new Map<string, PickledStorage>();
  collectStorages(root.value, storages);
  const places = new Map<string, { position: number; size: number }>();
  let position = keys.end;
  for (const key of Array.isArray(keys.value) ? keys.value : []) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    // Without its type, known from the state dict, nobody can tell where the next one begins.
    if (!storage || places.has(storage.key)) {
      throw new CheckpointError(`${file.path} holds the storage ${JSON.stringify(key)} that no tensor uses.`);
    }
    const size = storage.length * dtypeBytes[storage.dtype];
    const stated = Buffer.from(await file.read(position, 8)).readBigInt64LE();
    if (stated !== BigInt(storage.length)) {
      throw new CheckpointError(`${file.path} gives two lengths for the storage ${storage.key}: it is damaged.`);
    }
    places.set(storage.key, { position: position + 8, size });
    position += 8 + size;
  }
  return { root: root.value, locate: ({ key }) => places.get(key) ?? null };
}

function collectStorages(root: PickleValue, storages: Map<string, PickledStorage>): void {
  if (!(root instanceof Map)) return;
  for (const value of root.values()) {
    if (value instanceof PickledTensor) storages.set(value.storage.key, value.storage);
  }
}

interface View {
  entry: TensorEntry;
  tensor: PickledTensor;
  /** The storage's first byte in the file. */
  position: number;
}

function checkViews(path: string, root: PickleValue, locate: StateDict["locate"]): Map<string, View> {
  if (!(root instanceof Map)) throw new CheckpointError(`${path} does not hold a state dict.`);
  const views = new Map<string, View>();
  for (const [name, tensor] of root) {
    if (typeof name !== "string" || !(tensor instanceof PickledTensor)) {
      throw new CheckpointError(`${path} holds ${JSON.stringify(name)}, which is not a tensor, in its state dict.`, {
        hint: "A training checkpoint has to be reduced to the model's own state_dict() first.",
      });
    }
    const { storage, shape } = tensor;
    const place = locate(storage);
    if (!place) throw new CheckpointError(`${path} lacks the storage ${storage.key} of the tensor ${name}.`);
    if (place.size !== storage.length * dtypeBytes[storage.dtype]) {
      throw new CheckpointError(
        `${path}: the storage ${storage.key} of the tensor ${name} takes ${place.size} bytes, not those of ` +
          `${storage.length} elements of ${storage.dtype}.`,
      );
    }
    const byteLength = (elementCount(shape) as number) * dtypeBytes[storage.dtype];
    views.set(name, { entry: { dtype: storage.dtype, shape, byteLength }, tensor, position: place.position });
  }
  return views;
}

type Words = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

/** Reads no more of the storage than the view spans. */
async function readView(file: RandomAccessFile, tensor: PickledTensor, position: number): Promise<Uint8Array> {
  const { storage, offset, shape, stride } = tensor;
  const width = dtypeBytes[storage.dtype];
  const count = elementCount(shape) as number;
  const start = position + offset * width;
  if (count === 0 || isContiguous(shape, stride)) return file.read(start, count * width);
  const span = 1 + shape.reduce((sum, size, axis) => sum + (size - 1) * (stride[axis] as number), 0);
  const source = await file.read(start, span * width);
  const out = new Uint8Array(count * width);
  gather(asWords(source, width), asWords(out, width), shape, stride);
  return out;
}

function asWords({ buffer, byteOffset, byteLength }: Uint8Array, width: 1 | 2 | 4 | 8): Words {
  const Type = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array }[width];
  return new Type(buffer as ArrayBuffer, byteOffset, byteLength / width);
}

function isContiguous(shape: readonly number[], stride: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] as number;
    if (size !== 1 && stride[axis] !== expected) return false;
    expected *= size;
  }
  return true;
}

/** Copies a strided view into C order, counting its index up like an odometer. */
function gather(source: Words, out: Words, shape: readonly number[], stride: readonly number[]): void {
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = source[from] as never;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += stride[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      if (index[axis] !== shape[axis]) break;
      from -= (stride[axis] as number) * (shape[axis] as number);
      index[axis] = 0;
    }
  }
}

function wrongByteOrder(path: string): CheckpointError {
  return new CheckpointError(`${path} was written on a big-endian machine, which is not supported.`);
}
