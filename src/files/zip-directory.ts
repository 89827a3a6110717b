/** A file of which single ranges are read. */
export interface RangeReader {
  /** Bytes in the file. */
  readonly size: number;
  /** Exactly `length` bytes from `position`, both checked against `size` by the caller. */
  read(position: number, length: number): Promise<Uint8Array>;
}

/** What a zip file's central directory says of one entry. */
export interface ZipEntry {
  readonly name: string;
  /** Compression method: 0 stored, 8 deflated. */
  readonly method: number;
  readonly encrypted: boolean;
  readonly crc32: number;
  /** Bytes in the file, and after unpacking. */
  readonly packedSize: number;
  readonly size: number;
  /** Where the local header begins; `dataPosition` finds the bytes behind it. */
  readonly localPosition: number;
  /** st_mode, where the file was made on Unix; else 0. */
  readonly mode: number;
}

/** Why a file cannot be read as a zip: the end of a sentence that begins with its name. */
export class ZipError extends Error {
  override readonly name = "ZipError";
}

const endSignature = 0x06054b50;
const end64LocatorSignature = 0x07064b50;
const end64Signature = 0x06064b50;
const entrySignature = 0x02014b50;
const localSignature = 0x04034b50;
const endBytes = 22;
const end64LocatorBytes = 20;
const end64Bytes = 56;
const entryBytes = 46;
const localBytes = 30;
/** The end record is followed by a comment of at most 65,535 bytes. */
const maxTailBytes = endBytes + 0xffff + end64LocatorBytes;
/** About a million entries; the largest wheel has twenty thousand. */
const maxDirectoryBytes = 1 << 26;

/**
 * The entries of a zip file from its central directory (APPNOTE 6.3, zip64 included), each within the file.
 *
 * @throws ZipError where the file is cut off or damaged.
 */
export async function readZipDirectory(file: RangeReader): Promise<ZipEntry[]> {
  const directory = await findDirectory(file);
  const bytes = view(await file.read(directory.position, directory.size));
  const entries: ZipEntry[] = [];
  let at = 0;
  for (let index = 0; index < directory.entries; index++) {
    if (at + entryBytes > bytes.length || bytes.readUInt32LE(at) !== entrySignature) {
      throw new ZipError(`entry ${index} of its directory is damaged`);
    }
    const nameEnd = at + entryBytes + bytes.readUInt16LE(at + 28);
    const extraEnd = nameEnd + bytes.readUInt16LE(at + 30);
    const next = extraEnd + bytes.readUInt16LE(at + 32);
    if (next > bytes.length) throw new ZipError(`entry ${index} of its directory is cut off`);
    const name = bytes.toString("utf8", at + entryBytes, nameEnd);
    const entry = readEntry(name, bytes.subarray(at, nameEnd), bytes.subarray(nameEnd, extraEnd));
    if (entry.localPosition + localBytes + entry.packedSize > file.size) {
      throw new ZipError(`the entry ${JSON.stringify(name)} lies outside the file`);
    }
    entries.push(entry);
    at = next;
  }
  return entries;
}

/**
 * Where an entry's bytes begin. The local header repeats the name and has extra fields of its own.
 *
 * @throws ZipError where there is no header, or the bytes behind it lie outside the file.
 */
export async function dataPosition(file: RangeReader, { name, packedSize, localPosition }: ZipEntry): Promise<number> {
  const header = view(await file.read(localPosition, localBytes));
  if (header.readUInt32LE(0) !== localSignature)
    throw new ZipError(`the entry ${JSON.stringify(name)} has a damaged header`);
  const position = localPosition + localBytes + header.readUInt16LE(26) + header.readUInt16LE(28);
  if (position + packedSize > file.size) throw new ZipError(`the entry ${JSON.stringify(name)} lies outside the file`);
  return position;
}

interface Directory {
  position: number;
  size: number;
  entries: number;
}

async function findDirectory(file: RangeReader): Promise<Directory> {
  const tailStart = Math.max(0, file.size - maxTailBytes);
  const tail = view(await file.read(tailStart, file.size - tailStart));
  let at = tail.length - endBytes;
  while (
    at >= 0 &&
    !(tail.readUInt32LE(at) === endSignature && at + endBytes + tail.readUInt16LE(at + 20) === tail.length)
  ) {
    at--;
  }
  if (at < 0) throw new ZipError("it has no end record, as if it had been cut off");
  const locator = at - end64LocatorBytes;
  const directory =
    locator >= 0 && tail.readUInt32LE(locator) === end64LocatorSignature
      ? await readEnd64(file, toNumber(tail.readBigUInt64LE(locator + 8)))
      : {
          entries: tail.readUInt16LE(at + 10),
          size: tail.readUInt32LE(at + 12),
          position: tail.readUInt32LE(at + 16),
        };
  if (directory.position + directory.size > tailStart + at) throw new ZipError("its directory lies outside the file");
  if (directory.size > maxDirectoryBytes) throw new ZipError(`its directory of ${directory.size} bytes is too large`);
  return directory;
}

async function readEnd64(file: RangeReader, position: number): Promise<Directory> {
  if (position + end64Bytes > file.size) throw new ZipError("its zip64 end record lies outside the file");
  const record = view(await file.read(position, end64Bytes));
  if (record.readUInt32LE(0) !== end64Signature) throw new ZipError("its zip64 end record is damaged");
  return {
    entries: toNumber(record.readBigUInt64LE(32)),
    size: toNumber(record.readBigUInt64LE(40)),
    position: toNumber(record.readBigUInt64LE(48)),
  };
}

function readEntry(name: string, record: Buffer, extra: Buffer): ZipEntry {
  return {
    name,
    encrypted: (record.readUInt16LE(8) & 1) !== 0,
    method: record.readUInt16LE(10),
    crc32: record.readUInt32LE(16),
    mode: record.readUInt32LE(38) >>> 16,
    ...readZip64Extra(name, extra, {
      size: record.readUInt32LE(24),
      packedSize: record.readUInt32LE(20),
      localPosition: record.readUInt32LE(42),
    }),
  };
}

/** Fields that do not fit in 32 bits are all ones; the extra field holds them, in this order and no others. */
function readZip64Extra<T extends { size: number; packedSize: number; localPosition: number }>(
  name: string,
  extra: Buffer,
  fields: T,
): T {
  const saturated = (["size", "packedSize", "localPosition"] as const).filter((key) => fields[key] === 0xffffffff);
  if (saturated.length === 0) return fields;
  const wide = { ...fields };
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    if (at + 4 + 8 * saturated.length > extra.length || extra.readUInt16LE(at + 2) < 8 * saturated.length) break;
    saturated.forEach((key, index) => {
      wide[key] = toNumber(extra.readBigUInt64LE(at + 4 + 8 * index));
    });
    return wide;
  }
  throw new ZipError(`the entry ${JSON.stringify(name)} lacks its 64-bit sizes`);
}

/** Numbers that a double does not hold exactly become Infinity, which no check of a range lets pass. */
function toNumber(value: bigint): number {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Infinity;
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
