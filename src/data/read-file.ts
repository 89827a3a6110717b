import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import { DataError } from "../errors.js";

const newline = 0x0a;
/** V8 cannot hold a longer string. */
const maxTextBytes = 0x1fffffe8;

/** Reads a file whole. Throws DataError when it is missing, a directory, not readable or empty. */
export async function readBytes(path: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
  if (bytes.length === 0) throw new DataError(`${path} is empty`);
  return bytes;
}

/**
 * Reads a UTF-8 file, without its byte order mark. Throws DataError that names the line of the first byte that is not
 * UTF-8, or of the first NUL: both mean that the file is not what it is taken for, so neither is ever skipped.
 */
export async function readText(path: string): Promise<string> {
  const bytes = await readBytes(path);
  if (bytes.length > maxTextBytes) {
    throw new DataError(`${path} is larger than 512 MiB`, { hint: "Cut it into parts, or store it as Parquet." });
  }
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw new DataError(`${path} is UTF-16, not UTF-8`, {
      hint: `Convert it: iconv -f UTF-16 -t UTF-8 ${path} > converted`,
    });
  }
  if (!isUtf8(bytes)) {
    throw new DataError(`${path}, line ${lineOfInvalidUtf8(bytes)}: not valid UTF-8`, {
      hint: "Convert the file to UTF-8, such as with iconv -f WINDOWS-1252 -t UTF-8.",
    });
  }
  const nul = bytes.indexOf(0);
  if (nul >= 0) {
    throw new DataError(`${path}, line ${countLines(bytes.subarray(0, nul)) + 1}: holds a NUL byte`, {
      hint: "The file is damaged, or it is not a text file.",
    });
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
}

function lineOfInvalidUtf8(bytes: Buffer): number {
  let line = 1;
  for (let start = 0; ; line++) {
    const end = bytes.indexOf(newline, start);
    // A line feed is never part of a longer UTF-8 sequence, so lines can be judged one by one.
    if (end < 0 || !isUtf8(bytes.subarray(start, end))) return line;
    start = end + 1;
  }
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) lines++;
  return lines;
}

function unreadable(path: string, cause: unknown): DataError {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "ENOENT" || code === "ENOTDIR") return new DataError(`${path} does not exist`, { cause });
  if (code === "EISDIR") return new DataError(`${path} is a directory, not a file`, { cause });
  if (code === "EACCES") return new DataError(`${path} cannot be read: permission denied`, { cause });
  if (code === "ERR_FS_FILE_TOO_LARGE") return new DataError(`${path} is larger than 2 GiB`, { cause });
  return new DataError(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
}
