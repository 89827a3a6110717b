import { open, type FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { StateError } from "../errors.js";
import { writeFileAtomic } from "../files/atomic.js";

/**
 * A state file: 8 bytes of magic, the header's length (uint32), the header (JSON), float32 arrays back to back, and a
 * CRC-32 of all that. Little-endian. Written in pieces, so that neither it nor its checksum is ever whole in memory or
 * holds up the event loop for long.
 */
const magic = Buffer.from("STSTATE1");
const pieceBytes = 16 * 2 ** 20;
const headerLimit = 16 * 2 ** 20;

interface Header<T> {
  content: T;
  arrays: { name: string; length: number }[];
}

export interface StateFile<T> {
  content: T;
  arrays: Map<string, Float32Array>;
}

/** @throws OutputError when the disk is full or the folder cannot be written. */
export async function writeStateFile<T>(path: string, { content, arrays }: StateFile<T>): Promise<void> {
  const list = [...arrays].map(([name, { length }]) => ({ name, length }));
  const header = Buffer.from(JSON.stringify({ content, arrays: list } satisfies Header<T>));
  const headerLength = Buffer.alloc(4);
  headerLength.writeUInt32LE(header.length);
  await writeFileAtomic(path, withChecksum([magic, headerLength, header, ...[...arrays.values()].map(bytesOf)]));
}

/** @throws StateError when the file is torn, altered, or no state file at all. */
export async function readStateFile<T>(path: string): Promise<StateFile<T>> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const torn = (why: string) =>
      new StateError(`the state file ${path} is damaged: ${why}`, {
        hint: "delete it to start the run from its beginning",
      });
    const reader = new Reader(file);
    const start = await reader.read(Buffer.alloc(Math.min(size, magic.length + 4)));
    if (start.length < magic.length + 4 || !start.subarray(0, magic.length).equals(magic)) {
      throw torn("it does not begin like one");
    }
    const headerLength = start.readUInt32LE(magic.length);
    if (headerLength > Math.min(size, headerLimit)) throw torn(`its header would have ${headerLength} bytes`);
    const header = parseHeader<T>(await reader.read(Buffer.alloc(headerLength)));
    if (!header) throw torn("its header is not readable");
    const expected = start.length + headerLength + 4 * sum(header.arrays.map(({ length }) => length)) + 4;
    if (size !== expected) throw torn(`it has ${size} bytes where ${expected} are due`);
    const arrays = new Map<string, Float32Array>();
    for (const { name, length } of header.arrays) {
      const values = new Float32Array(length);
      await reader.read(bytesOf(values));
      arrays.set(name, values);
    }
    const { checksum } = reader;
    if ((await reader.read(Buffer.alloc(4))).readUInt32LE() !== checksum) throw torn("its checksum does not match");
    return { content: header.content, arrays };
  } finally {
    await file.close();
  }
}

async function* withChecksum(parts: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let checksum = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += pieceBytes) {
      const piece = part.subarray(at, at + pieceBytes);
      checksum = crc32(piece, checksum);
      yield piece;
    }
  }
  const footer = Buffer.alloc(4);
  footer.writeUInt32LE(checksum);
  yield footer;
}

/** Reads on from where it stands and keeps the checksum of all it has read. */
class Reader {
  checksum = 0;
  readonly #file: FileHandle;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Fills `target`; what a file that ends early does not fill stays zero and fails the checksum. */
  async read<T extends Uint8Array>(target: T): Promise<T> {
    for (let at = 0; at < target.length;) {
      const piece = target.subarray(at, at + pieceBytes);
      const { bytesRead } = await this.#file.read(piece, 0, piece.length);
      if (bytesRead === 0) break;
      this.checksum = crc32(piece.subarray(0, bytesRead), this.checksum);
      at += bytesRead;
    }
    return target;
  }
}

function parseHeader<T>(bytes: Buffer): Header<T> | null {
  try {
    const { content, arrays } = JSON.parse(bytes.toString("utf8")) as Header<T>;
    const sound = arrays.every(
      ({ name, length }) => typeof name === "string" && Number.isSafeInteger(length) && length >= 0,
    );
    return sound ? { content, arrays } : null;
  } catch {
    return null;
  }
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function sum(values: number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
