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
const pieceBytes = 2 ** 20;
const headerLimit = 16 * 2 ** 20;

interface Header<T> {
  content: T;
  arrays: { name: string; length: number }[];
}

/** float32 values that are read a piece at a time. */
export interface StoredArray {
  name: string;
  length: number;
  read: (begin: number, end: number) => Promise<Float32Array>;
}

export interface StateFile<T> {
  content: T;
  arrays: StoredArray[];
}

/**
 * `onRead` is called once the arrays have been read to their end, when what they were read from may change again; the
 * file still has to reach the disk.
 *
 * @throws OutputError when the disk is full or the folder cannot be written.
 */
export async function writeStateFile<T>(
  path: string,
  { content, arrays }: StateFile<T>,
  onRead: () => void = () => {},
): Promise<void> {
  const list = arrays.map(({ name, length }) => ({ name, length }));
  const header = Buffer.from(JSON.stringify({ content, arrays: list } satisfies Header<T>));
  const headerLength = Buffer.alloc(4);
  headerLength.writeUInt32LE(header.length);
  await writeFileAtomic(path, withChecksum([magic, headerLength, header], arrays, onRead));
}

/** The pieces of an array, in order. */
export async function* piecesOf({
  length,
  read,
}: StoredArray): AsyncGenerator<{ begin: number; values: Float32Array }> {
  const step = pieceBytes / Float32Array.BYTES_PER_ELEMENT;
  for (let begin = 0; begin < length; begin += step) {
    yield { begin, values: await read(begin, Math.min(length, begin + step)) };
  }
}

/**
 * Reads a state file to its end once to check it; its arrays are then read from it again, a piece at a time.
 *
 * @throws StateError when the file is torn, altered, or no state file at all.
 */
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
    const firstByte = start.length + headerLength;
    await reader.skip(size - 4 - firstByte);
    const { checksum } = reader;
    if ((await reader.read(Buffer.alloc(4))).readUInt32LE() !== checksum) throw torn("its checksum does not match");
    return { content: header.content, arrays: storedArrays(path, header.arrays, firstByte) };
  } finally {
    await file.close();
  }
}

/** Arrays that lie back to back in a file from `firstByte` on. */
function storedArrays(path: string, list: Header<unknown>["arrays"], firstByte: number): StoredArray[] {
  let at = firstByte;
  return list.map(({ name, length }) => {
    const begins = at;
    at += 4 * length;
    const read = async (begin: number, end: number) => {
      await using file = await open(path, "r");
      const values = new Float32Array(end - begin);
      const { bytesRead } = await file.read(bytesOf(values), 0, values.byteLength, begins + 4 * begin);
      if (bytesRead < values.byteLength)
        throw new StateError(`the state file ${path} became shorter while it was read`);
      return values;
    };
    return { name, length, read };
  });
}

async function* withChecksum(
  head: Iterable<Uint8Array>,
  arrays: readonly StoredArray[],
  onRead: () => void,
): AsyncGenerator<Uint8Array> {
  let checksum = 0;
  for (const part of head) {
    checksum = crc32(part, checksum);
    yield part;
  }
  for (const array of arrays) {
    for await (const { values } of piecesOf(array)) {
      const piece = bytesOf(values);
      checksum = crc32(piece, checksum);
      yield piece;
    }
  }
  onRead();
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

  /** Reads over `bytes`. */
  async skip(bytes: number): Promise<void> {
    const piece = Buffer.alloc(Math.min(bytes, pieceBytes));
    for (let left = bytes; left > 0; left -= piece.length) await this.read(piece.subarray(0, left));
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
