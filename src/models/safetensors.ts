import { CheckpointError, SteadytuneError } from "../errors.js";
import { writeFileAtomic } from "../files/atomic.js";
import { parseStrictJson } from "./strict-json.js";
import {
  dtypeBytes,
  elementCount,
  openRandomAccess,
  type RandomAccessFile,
  type TensorDtype,
  type TensorEntry,
  type TensorFile,
} from "./tensor-file.js";

/** The reference implementation's own limit. */
const maxHeaderBytes = 100_000_000;
/** The length of the header, a little-endian 64-bit number, comes first. */
const prefixBytes = 8;

export interface SafetensorsFile extends TensorFile {
  readonly metadata: Readonly<Record<string, string>>;
}

export interface Tensor {
  dtype: TensorDtype;
  shape: number[];
  /** Little-endian bytes, C order. */
  data: Uint8Array;
}

/** A tensor to be written; `data` may be a function, called when its turn comes, so that not all are in memory. */
export interface TensorSource {
  dtype: TensorDtype;
  shape: readonly number[];
  data: Uint8Array | (() => Promise<Uint8Array>);
}

interface PlacedEntry extends TensorEntry {
  /** Of the tensor's first byte in the file. */
  position: number;
}

/**
 * Opens a safetensors file and checks its whole header, as the reference implementation does: every tensor's offsets
 * lie in the file and agree with its shape and element type, tensors do not overlap, and no byte is left over.
 *
 * @throws CheckpointError with one sentence for each of these.
 */
export async function openSafetensors(source: string | RandomAccessFile): Promise<SafetensorsFile> {
  const file = typeof source === "string" ? await openRandomAccess(source) : source;
  const { path } = file;
  try {
    const { tensors, metadata } = await readHeader(file);
    return {
      path,
      tensors,
      metadata,
      read: async (name) => {
        const entry = tensors.get(name);
        if (!entry) throw new CheckpointError(`${path} holds no tensor ${name}.`);
        return file.read(entry.position, entry.byteLength);
      },
      close: () => file.close(),
      [Symbol.asyncDispose]: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A whole safetensors file, in the order of its data. @throws CheckpointError as `openSafetensors`. */
export async function readSafetensors(
  path: string,
): Promise<{ tensors: Map<string, Tensor>; metadata: Record<string, string> }> {
  await using file = await openSafetensors(path);
  const tensors = new Map<string, Tensor>();
  for (const [name, { dtype, shape }] of file.tensors) {
    tensors.set(name, { dtype, shape: [...shape], data: await file.read(name) });
  }
  return { tensors, metadata: { ...file.metadata } };
}

/**
 * Writes a safetensors file atomically, byte for byte as the reference implementation would: tensors by type
 * and then by name, the header padded to 8 bytes.
 *
 * @throws OutputError when it cannot be written.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorSource>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const names = [...tensors].sort(byTypeThenName).map(([name]) => name);
  const header: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) header.push(["__metadata__", metadata]);
  let end = 0;
  for (const name of names) {
    const { dtype, shape } = tensors.get(name) as TensorSource;
    const count = elementCount(shape);
    if (count === null || name === "__metadata__") {
      throw new SteadytuneError("ERR_INTERNAL", `Tensor ${name} of shape [${shape.join(", ")}] cannot be written.`);
    }
    const begin = end;
    end += count * dtypeBytes[dtype];
    header.push([name, { dtype, shape, data_offsets: [begin, end] }]);
  }
  await writeFileAtomic(path, pieces());

  async function* pieces(): AsyncGenerator<Uint8Array> {
    // Not by JSON.stringify of one object, which would put keys that look like numbers first.
    const entries = header.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    const text = Buffer.from(`{${entries.join(",")}}`, "utf8");
    const padded = Buffer.alloc(Math.ceil(text.length / 8) * 8, " ");
    text.copy(padded);
    const prefix = Buffer.alloc(prefixBytes);
    prefix.writeBigUInt64LE(BigInt(padded.length));
    yield prefix;
    yield padded;
    for (const name of names) {
      const { dtype, shape, data } = tensors.get(name) as TensorSource;
      const bytes = typeof data === "function" ? await data() : data;
      if (bytes.length !== (elementCount(shape) as number) * dtypeBytes[dtype]) {
        const what = `Tensor ${name} of shape [${shape.join(", ")}] and type ${dtype}`;
        throw new SteadytuneError("ERR_INTERNAL", `${what} cannot be written from ${bytes.length} bytes.`);
      }
      yield bytes;
    }
  }
}

const dtypeOrder = Object.keys(dtypeBytes);

/** The widest types first, so that each tensor begins on a multiple of its element's size. */
function byTypeThenName([nameA, a]: [string, TensorSource], [nameB, b]: [string, TensorSource]): number {
  return dtypeOrder.indexOf(b.dtype) - dtypeOrder.indexOf(a.dtype) || (nameA < nameB ? -1 : nameA > nameB ? 1 : 0);
}

async function readHeader(
  file: RandomAccessFile,
): Promise<{ tensors: Map<string, PlacedEntry>; metadata: Record<string, string> }> {
  const { path, size } = file;
  if (size < prefixBytes) throw damaged(path, `it is only ${size} bytes long`);
  const length = Buffer.from(await file.read(0, prefixBytes)).readBigUInt64LE();
  if (length > BigInt(size - prefixBytes)) {
    throw damaged(path, `its header is said to take ${length} bytes, but the file ends after ${size}`);
  }
  if (length > BigInt(maxHeaderBytes)) {
    throw damaged(path, `its header is said to take ${length} bytes, above the format's limit of ${maxHeaderBytes}`);
  }
  const header = parseHeader(path, await file.read(prefixBytes, Number(length)));
  const dataStart = prefixBytes + Number(length);
  const tensors: [string, PlacedEntry][] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") metadata = checkMetadata(path, value);
    else tensors.push([name, checkEntry(path, name, value, dataStart)]);
  }
  checkPlaces(path, tensors, dataStart, size);
  return { tensors: new Map(tensors), metadata };
}

function parseHeader(path: string, bytes: Uint8Array): Record<string, unknown> {
  let header: unknown;
  try {
    header = parseStrictJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    const reason = error instanceof TypeError ? "it is not UTF-8" : (error as Error).message;
    throw damaged(path, `its header is not the JSON that the format asks for (${reason})`);
  }
  if (!isObject(header)) throw damaged(path, "its header is not a JSON object");
  return header;
}

function checkMetadata(path: string, value: unknown): Record<string, string> {
  if (!isObject(value) || Object.values(value).some((text) => typeof text !== "string")) {
    throw damaged(path, "its __metadata__ is not an object of strings");
  }
  return value as Record<string, string>;
}

function checkEntry(path: string, name: string, value: unknown, dataStart: number): PlacedEntry {
  const what = `tensor ${JSON.stringify(name)}`;
  if (!isObject(value)) throw damaged(path, `${what} is not described by an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(dtypeBytes, dtype)) {
    throw damaged(path, `${what} has the unknown element type ${JSON.stringify(dtype) ?? "(none)"}`);
  }
  const count = isNumbers(shape) ? elementCount(shape) : null;
  if (!isNumbers(shape) || count === null) {
    throw damaged(path, `${what} has a shape that is not a list of whole numbers`);
  }
  if (!isNumbers(offsets) || offsets.length !== 2 || !offsets.every((at) => Number.isSafeInteger(at) && at >= 0)) {
    throw damaged(path, `${what} has data_offsets that are not two whole numbers`);
  }
  const [begin, end] = offsets as [number, number];
  const byteLength = count * dtypeBytes[dtype as TensorDtype];
  if (end - begin !== byteLength) {
    const stated = `[${shape.join(", ")}] of ${dtype} takes ${byteLength} bytes`;
    throw damaged(path, `${what}: a shape of ${stated}, but data_offsets span ${end - begin}`);
  }
  return { dtype: dtype as TensorDtype, shape, byteLength, position: dataStart + begin };
}

/** Puts the tensors in the order of their data. */
function checkPlaces(path: string, tensors: [string, PlacedEntry][], dataStart: number, size: number): void {
  tensors.sort(([, a], [, b]) => a.position - b.position || a.byteLength - b.byteLength);
  let end = dataStart;
  let last = "";
  for (const [name, entry] of tensors) {
    if (entry.position + entry.byteLength > size) {
      const needed = entry.position + entry.byteLength;
      throw damaged(path, `tensor ${JSON.stringify(name)} ends at byte ${needed}, but the file after ${size}`);
    }
    if (entry.position < end) {
      throw damaged(path, `tensors ${JSON.stringify(last)} and ${JSON.stringify(name)} overlap`);
    }
    if (entry.position > end) {
      throw damaged(
        path,
        `the ${entry.position - end} bytes before tensor ${JSON.stringify(name)} belong to no tensor`,
      );
    }
    end = entry.position + entry.byteLength;
    last = name;
  }
  if (end !== size) throw damaged(path, `the last ${size - end} bytes belong to no tensor`);
}

function damaged(path: string, reason: string): CheckpointError {
  return new CheckpointError(`${path} is not a whole safetensors file: ${reason}.`, {
    hint: "Copy or download it again.",
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => typeof item === "number");
}
