import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, writeFile, type FileHandle } from "node:fs/promises";
import { dirname, isAbsolute, join, normalize, sep } from "node:path";
import { Transform, type TransformCallback } from "node:stream";
import { pipeline } from "node:stream/promises";
import { crc32, createInflateRaw, inflateRawSync } from "node:zlib";

export interface ZipEntry {
  name: string;
  /** Bytes in the archive and after unpacking. */
  compressedSize: number;
  size: number;
  crc32: number;
  method: "stored" | "deflated";
  /** Where the entry's local header begins. */
  headerOffset: number;
  executable: boolean;
}

/** The file is not a ZIP archive that can be read, or an entry does not hold what the archive says. */
export class ZipError extends Error {
  override readonly name = "ZipError";
}

const endSignature = Buffer.from([0x50, 0x4b, 0x05, 0x06]);
const end64LocatorSignature = 0x07064b50;
const end64Signature = 0x06064b50;
const centralSignature = 0x02014b50;
const localSignature = 0x04034b50;
/** The end record has 22 bytes and a comment of at most 65535. */
const longestEnd = 22 + 0xffff;

/** Entries up to this size are unpacked in memory: an archive of headers has ten thousand of them. */
const small = 1 << 20;

/**
 * A reader for wheels and for libtorch's archive: enough of the ZIP format (APPNOTE 6.3, with ZIP64) to unpack single
 * entries. It stands here since set-up may use nothing outside Node, and Python may be missing.
 */
export class ZipArchive implements AsyncDisposable {
  readonly path: string;
  /** In the order of the archive, folders left out. */
  readonly entries: readonly ZipEntry[];
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle, entries: ZipEntry[]) {
    this.path = path;
    this.#file = file;
    this.entries = entries;
  }

  static async open(path: string): Promise<ZipArchive> {
    const file = await open(path, "r");
    try {
      return new ZipArchive(path, file, await readDirectory(path, file));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The bytes of one entry, checked against its size and CRC. */
  async read(entry: ZipEntry): Promise<Buffer> {
    const packed = Buffer.alloc(entry.compressedSize);
    const { bytesRead } = await this.#file.read(packed, 0, packed.length, await this.#dataOffset(entry));
    let content: Buffer;
    try {
      content = entry.method === "stored" ? packed : inflateRawSync(packed.subarray(0, bytesRead));
    } catch (error) {
      throw this.#damaged(entry, "does not unpack", error);
    }
    this.#check(entry, content.length, crc32(content));
    return content;
  }

  /**
   * Unpacks one entry to `folder/entry.name` and returns the SHA-256 of what was written, in base64url as wheels note
   * it. A name that leads out of the folder is refused.
   */
  async extract(entry: ZipEntry, folder: string, onBytes: (bytes: number) => void = () => {}): Promise<string> {
    const name = normalize(entry.name);
    if (isAbsolute(name) || name.split(sep)[0] === "..") throw this.#damaged(entry, "leads out of its folder");
    const target = join(folder, name);
    const mode = entry.executable ? 0o755 : 0o644;
    const hash = createHash("sha256");
    await mkdir(dirname(target), { recursive: true });
    if (entry.size <= small) {
      const content = await this.read(entry);
      await writeFile(target, content, { mode });
      onBytes(content.length);
      return hash.update(content).digest("base64url");
    }

    const start = await this.#dataOffset(entry);
    let size = 0;
    let crc = 0;
    const check = new Transform({
      transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
        size += chunk.length;
        crc = crc32(chunk, crc);
        hash.update(chunk);
        onBytes(chunk.length);
        done(null, chunk);
      },
    });
    const end = start + entry.compressedSize - 1;
    const source = this.#file.createReadStream({ start, end, highWaterMark: small, autoClose: false });
    const sink = createWriteStream(target, { mode });
    try {
      if (entry.method === "stored") await pipeline(source, check, sink);
      else await pipeline(source, createInflateRaw({ chunkSize: small }), check, sink);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code?.startsWith("Z_")) throw this.#damaged(entry, "does not unpack", error);
      throw error;
    }
    this.#check(entry, size, crc);
    return hash.digest("base64url");
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The local header repeats the name, and its extra field can be longer than the directory's. */
  async #dataOffset(entry: ZipEntry): Promise<number> {
    const header = Buffer.alloc(30);
    const { bytesRead } = await this.#file.read(header, 0, 30, entry.headerOffset);
    if (bytesRead < 30 || header.readUInt32LE(0) !== localSignature) {
      throw this.#damaged(entry, "is not where the directory says");
    }
    return entry.headerOffset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  }

  #check(entry: ZipEntry, size: number, crc: number): void {
    if (size !== entry.size || crc >>> 0 !== entry.crc32) throw this.#damaged(entry, "does not match its checksum");
  }

  #damaged(entry: ZipEntry, what: string, cause?: unknown): ZipError {
    return new ZipError(`${this.path} is damaged: ${entry.name} ${what}`, { cause });
  }
}

async function readDirectory(path: string, file: FileHandle): Promise<ZipEntry[]> {
  const { size } = await file.stat();
  const read = async (position: number, length: number): Promise<Buffer> => {
    if (position < 0 || length < 0 || position + length > size) {
      throw new ZipError(`${path} is cut off or damaged: it has ${size} bytes, and its directory points beyond`);
    }
    const buffer = Buffer.alloc(length);
    await file.read(buffer, 0, length, position);
    return buffer;
  };

  const tailLength = Math.min(size, longestEnd);
  const tail = await read(size - tailLength, tailLength);
  const end = tail.lastIndexOf(endSignature);
  if (end < 0 || end + 22 > tail.length) {
    throw new ZipError(`${path} is cut off or no ZIP archive: it has ${size} bytes and no directory at its end`);
  }
  let count = tail.readUInt16LE(end + 10);
  let directorySize = tail.readUInt32LE(end + 12);
  let directoryOffset = tail.readUInt32LE(end + 16);
  const locatorOffset = size - tailLength + end - 20;
  if (locatorOffset >= 0) {
    const locator = await read(locatorOffset, 20);
    if (locator.readUInt32LE(0) === end64LocatorSignature) {
      const end64 = await read(Number(locator.readBigUInt64LE(8)), 56);
      if (end64.readUInt32LE(0) !== end64Signature)
        throw new ZipError(`${path} is damaged: its ZIP64 record is missing`);
      count = Number(end64.readBigUInt64LE(32));
      directorySize = Number(end64.readBigUInt64LE(40));
      directoryOffset = Number(end64.readBigUInt64LE(48));
    }
  }
  return parseDirectory(path, await read(directoryOffset, directorySize), count);
}

function parseDirectory(path: string, directory: Buffer, count: number): ZipEntry[] {
  const entries: ZipEntry[] = [];
  let at = 0;
  for (let index = 0; index < count; index++) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== centralSignature) {
      throw new ZipError(`${path} is damaged: entry ${index} of ${count} in its directory cannot be read`);
    }
    const method = directory.readUInt16LE(at + 10);
    const nameLength = directory.readUInt16LE(at + 28);
    const extraLength = directory.readUInt16LE(at + 30);
    const name = directory.toString("utf8", at + 46, at + 46 + nameLength);
    const entry = {
      name,
      crc32: directory.readUInt32LE(at + 16),
      compressedSize: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      headerOffset: directory.readUInt32LE(at + 42),
      // The upper half of the external attributes is st_mode where the archive was made on Unix.
      executable: ((directory.readUInt32LE(at + 38) >>> 16) & 0o111) !== 0,
    };
    readZip64Sizes(directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength), entry);
    at += 46 + nameLength + extraLength + directory.readUInt16LE(at + 32);
    if (name.endsWith("/")) continue;
    if (method !== 0 && method !== 8)
      throw new ZipError(`${path} holds ${name} in compression method ${method}, which is not supported`);
    entries.push({ ...entry, method: method === 0 ? "stored" : "deflated" });
  }
  return entries;
}

/** Fields that hold 0xffffffff stand in the extra field 1 instead, in this order. */
function readZip64Sizes(extra: Buffer, entry: { size: number; compressedSize: number; headerOffset: number }): void {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    let field = at + 4;
    for (const key of ["size", "compressedSize", "headerOffset"] as const) {
      if (entry[key] !== 0xffffffff) continue;
      entry[key] = Number(extra.readBigUInt64LE(field));
      field += 8;
    }
  }
}
