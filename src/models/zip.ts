import { CheckpointError } from "../errors.js";
import type { RandomAccessFile } from "./tensor-file.js";

/** Where a stored (uncompressed) entry's bytes are in the file. */
export interface ZipEntry {
  readonly position: number;
  readonly size: number;
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
/** About a million entries; a checkpoint has hundreds. */
const maxDirectoryBytes = 1 << 26;

/**
 * The entries of a zip file by name, from its central directory; zip64 is understood. Only stored entries are allowed,
 * which is what PyTorch writes, and each must lie in the file as a whole.
 *
 * @throws CheckpointError for anything else.
 */
export async function readZipDirectory(file: RandomAccessFile): Promise<Map<string, ZipEntry>> {
  const directory = await findDirectory(file);
  const bytes = view(await file.read(directory.position, directory.size));
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let index = 0; index < directory.entries; index++) {
    if (at + entryBytes > bytes.length || bytes.readUInt32LE(at) !== entrySignature) {
      throw damaged(file, `entry ${index} of its directory is damaged`);
    }
    const nameEnd = at + entryBytes + bytes.readUInt16LE(at + 28);
    const extraEnd = nameEnd + bytes.readUInt16LE(at + 30);
    const next = extraEnd + bytes.readUInt16LE(at + 32);
    if (next > bytes.length) throw damaged(file, `entry ${index} of its directory is cut off`);
    const name = bytes.toString("utf8", at + entryBytes, nameEnd);
    const entry = readEntry(file, name, bytes.subarray(at, nameEnd), bytes.subarray(nameEnd, extraEnd));
    if (entries.has(name)) throw damaged(file, `the entry ${JSON.stringify(name)} stands there twice`);
    entries.set(name, { size: entry.size, position: await dataPosition(file, name, entry) });
    at = next;
  }
  return entries;
}

interface Directory {
  position: number;
  size: number;
  entries: number;
}

async function findDirectory(file: RandomAccessFile): Promise<Directory> {
  const tailStart = Math.max(0, file.size - maxTailBytes);
  const tail = view(await file.read(tailStart, file.size - tailStart));
  let at = tail.length - endBytes;
  while (
    at >= 0 &&
    !(tail.readUInt32LE(at) === endSignature && at + endBytes + tail.readUInt16LE(at + 20) === tail.length)
  ) {
    at--;
  }
  if (at < 0) throw damaged(file, "it has no end record, as if it had been cut off");
  const locator = at - end64LocatorBytes;
  const directory =
    locator >= 0 && tail.readUInt32LE(locator) === end64LocatorSignature
      ? await readEnd64(file, toNumber(tail.readBigUInt64LE(locator + 8)))
      : {
          entries: tail.readUInt16LE(at + 10),
          size: tail.readUInt32LE(at + 12),
          position: tail.readUInt32LE(at + 16),
        };
  if (directory.position + directory.size > tailStart + at) throw damaged(file, "its directory lies outside the file");
  if (directory.size > maxDirectoryBytes) throw damaged(file, `its directory of ${directory.size} bytes is too large`);
  return directory;
}

async function readEnd64(file: RandomAccessFile, position: number): Promise<Directory> {
  if (position + end64Bytes > file.size) throw damaged(file, "its zip64 end record lies outside the file");
  const record = view(await file.read(position, end64Bytes));
  if (record.readUInt32LE(0) !== end64Signature) throw damaged(file, "its zip64 end record is damaged");
  return {
    entries: toNumber(record.readBigUInt64LE(32)),
    size: toNumber(record.readBigUInt64LE(40)),
    position: toNumber(record.readBigUInt64LE(48)),
  };
}

function readEntry(
  file: RandomAccessFile,
  name: string,
  record: Buffer,
  extra: Buffer,
): { size: number; localPosition: number } {
  const what = `the entry ${JSON.stringify(name)}`;
  if ((record.readUInt16LE(8) & 1) !== 0) throw damaged(file, `${what} is encrypted`);
  if (record.readUInt16LE(10) !== 0) throw damaged(file, `${what} is compressed, which PyTorch never does`);
  const wide = readZip64Extra(file, what, extra, {
    size: record.readUInt32LE(24),
    packedSize: record.readUInt32LE(20),
    localPosition: record.readUInt32LE(42),
  });
  if (wide.packedSize !== wide.size) throw damaged(file, `${what} has two different sizes`);
  return wide;
}

/** Fields that do not fit in 32 bits are all ones; the extra field holds them, in this order and no others. */
function readZip64Extra<T extends { size: number; packedSize: number; localPosition: number }>(
  file: RandomAccessFile,
  what: string,
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
  throw damaged(file, `${what} lacks its 64-bit sizes`);
}

/** The local header repeats the name and has extra fields of its own, by which PyTorch aligns the data. */
async function dataPosition(
  file: RandomAccessFile,
  name: string,
  { size, localPosition }: { size: number; localPosition: number },
): Promise<number> {
  const what = `the entry ${JSON.stringify(name)}`;
  if (localPosition + localBytes > file.size) throw damaged(file, `${what} lies outside the file`);
  const header = view(await file.read(localPosition, localBytes));
  if (header.readUInt32LE(0) !== localSignature) throw damaged(file, `${what} has a damaged header`);
  const position = localPosition + localBytes + header.readUInt16LE(26) + header.readUInt16LE(28);
  if (position + size > file.size) throw damaged(file, `${what} lies outside the file`);
  return position;
}

/** Numbers that a double does not hold exactly become Infinity, which no check of a range lets pass. */
function toNumber(value: bigint): number {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Infinity;
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function damaged(file: RandomAccessFile, reason: string): CheckpointError {
  return new CheckpointError(`${file.path} is not a whole file of torch.save (a zip): ${reason}.`, {
    hint: "Copy or download it again.",
  });
}
