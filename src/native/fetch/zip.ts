import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, writeFile, type FileHandle } from "node:fs/promises";
import { dirname, isAbsolute, join, normalize, sep } from "node:path";
import { Transform, type TransformCallback } from "node:stream";
import { pipeline } from "node:stream/promises";
import { crc32, createInflateRaw, inflateRawSync } from "node:zlib";

import {
  dataPosition,
  readZipDirectory,
  ZipError,
  type RangeReader,
  type ZipEntry,
} from "../../files/zip-directory.js";

/** Entries up to this size are unpacked in memory: an archive of headers has ten thousand of them. */
const small = 1 << 20;
const stored = 0;
const deflated = 8;

/**
 * A reader for wheels and for libtorch's archive that unpacks single entries. It stands here since set-up may use
 * nothing outside Node, and Python may be missing. Errors name the archive.
 */
export class ZipArchive implements AsyncDisposable {
  readonly path: string;
  /** In the order of the archive, folders left out. */
  readonly entries: readonly ZipEntry[];
  readonly #file: FileHandle;
  readonly #reader: RangeReader;

  private constructor(path: string, file: FileHandle, reader: RangeReader, entries: ZipEntry[]) {
    this.path = path;
    this.#file = file;
    this.#reader = reader;
    this.entries = entries;
  }

  static async open(path: string): Promise<ZipArchive> {
    const file = await open(path, "r");
    try {
      const reader = await rangeReader(file);
      const entries = await readZipDirectory(reader);
      return new ZipArchive(
        path,
        file,
        reader,
        entries.filter(({ name }) => !name.endsWith("/")),
      );
    } catch (error) {
      await file.close();
      throw error instanceof ZipError ? new ZipError(`${path} is damaged: ${error.message}`) : error;
    }
  }

  /** The bytes of one entry, checked against its size and CRC. */
  async read(entry: ZipEntry): Promise<Buffer> {
    const position = await this.#position(entry);
    const packed = await this.#reader.read(position, entry.packedSize);
    let content: Uint8Array;
    try {
      content = entry.method === stored ? packed : inflateRawSync(packed);
    } catch (error) {
      throw this.#damaged(entry, "does not unpack", error);
    }
    this.#check(entry, content.length, crc32(content));
    return Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  }

  /**
   * Unpacks one entry to `folder/entry.name` and returns the SHA-256 of what was written, in base64url as wheels note
   * it. A name that leads out of the folder is refused.
   */
  async extract(entry: ZipEntry, folder: string, onBytes: (bytes: number) => void = () => {}): Promise<string> {
    const name = normalize(entry.name);
    if (isAbsolute(name) || name.split(sep)[0] === "..") throw this.#damaged(entry, "leads out of its folder");
    const target = join(folder, name);
    const mode = (entry.mode & 0o111) === 0 ? 0o644 : 0o755;
    const hash = createHash("sha256");
    await mkdir(dirname(target), { recursive: true });
    if (entry.size <= small) {
      const content = await this.read(entry);
      await writeFile(target, content, { mode });
      onBytes(content.length);
      return hash.update(content).digest("base64url");
    }

    const start = await this.#position(entry);
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
    const end = start + entry.packedSize - 1;
    const source = this.#file.createReadStream({ start, end, highWaterMark: small, autoClose: false });
    const sink = createWriteStream(target, { mode });
    try {
      if (entry.method === stored) await pipeline(source, check, sink);
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

  async #position(entry: ZipEntry): Promise<number> {
    if (entry.encrypted || (entry.method !== stored && entry.method !== deflated)) {
      throw this.#damaged(entry, `is packed in a way that is not supported (method ${entry.method})`);
    }
    try {
      return await dataPosition(this.#reader, entry);
    } catch (error) {
      throw error instanceof ZipError ? new ZipError(`${this.path} is damaged: ${error.message}`) : error;
    }
  }

  #check(entry: ZipEntry, size: number, crc: number): void {
    if (size !== entry.size || crc >>> 0 !== entry.crc32) throw this.#damaged(entry, "does not match its checksum");
  }

  #damaged(entry: ZipEntry, what: string, cause?: unknown): ZipError {
    return new ZipError(`${this.path} is damaged: ${entry.name} ${what}`, { cause });
  }
}

async function rangeReader(file: FileHandle): Promise<RangeReader> {
  const { size } = await file.stat();
  return {
    size,
    async read(position, length) {
      const buffer = Buffer.alloc(length);
      const { bytesRead } = await file.read(buffer, 0, length, position);
      if (bytesRead < length) throw new ZipError(`it ends at byte ${position + bytesRead}`);
      return buffer;
    },
  };
}
