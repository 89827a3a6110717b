import { open, type FileHandle } from "node:fs/promises";
import { CheckpointError } from "../errors.js";

/**
 * Element types by their names in safetensors, with the bytes that one element takes; in the reference implementation's
 * order, by which it also orders the tensors in a file.
 */
export const dtypeBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

export type TensorDtype = keyof typeof dtypeBytes;

export interface TensorEntry {
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** A file of named tensors: what it holds is known and checked on opening, the values are read when asked for. */
export interface TensorFile extends AsyncDisposable {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** The tensor's bytes, little-endian, C order, in a buffer of their own that is aligned for any element type. */
  read(name: string): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A file opened for reading at positions, of which nothing is kept in memory. */
export interface RandomAccessFile extends AsyncDisposable {
  readonly path: string;
  /** Bytes in the file when it was opened. */
  readonly size: number;
  /** Exactly `length` bytes from `position`. @throws CheckpointError when they are not there. */
  read(position: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** read(2) transfers at most 2 GiB - 4 KiB at once; smaller pieces cost nothing. */
const pieceBytes = 1 << 28;

/** @throws CheckpointError when the file is missing, unreadable, empty, or a Git LFS pointer in place of the file. */
export async function openRandomAccess(path: string): Promise<RandomAccessFile> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    throw unreadable(path, error);
  }
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw new CheckpointError(`${path} is not a file.`);
    if (status.size === 0) throw new CheckpointError(`${path} is empty.`, { hint: "Copy or download it again." });
    const close = (): Promise<void> => handle.close();
    const file: RandomAccessFile = {
      path,
      size: status.size,
      read: async (position, length) => {
        // Before memory is asked for: a damaged file can claim any length.
        if (position + length > status.size) throw cutOff(path, status.size);
        return readExactly(handle, path, position, length);
      },
      close,
      [Symbol.asyncDispose]: close,
    };
    await refusePointer(file);
    return file;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readExactly(handle: FileHandle, path: string, position: number, length: number): Promise<Uint8Array> {
  // Not from Node's pool: a slice of that would neither be aligned nor free its memory by itself. And not as a Buffer,
  // whose slice() is no copy.
  const bytes = allocate(path, length);
  let done = 0;
  while (done < length) {
    let bytesRead: number;
    try {
      const piece = Math.min(pieceBytes, length - done);
      ({ bytesRead } = await handle.read(bytes, done, piece, position + done));
    } catch (error) {
      throw unreadable(path, error);
    }
    if (bytesRead === 0) throw cutOff(path, position + done);
    done += bytesRead;
  }
  return bytes;
}

/** Node 20 has no buffers above 4 GiB; a single weight never comes near. */
function allocate(path: string, length: number): Uint8Array {
  try {
    return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
  } catch (error) {
    throw new CheckpointError(`${path} holds ${length} bytes in one piece, too many to read at once.`, {
      cause: error,
    });
  }
}

/** A repository cloned without Git LFS holds, in place of each large file, three lines of text that name it. */
async function refusePointer(file: RandomAccessFile): Promise<void> {
  if (file.size > 1024) return;
  const text = Buffer.from(await file.read(0, file.size)).toString("latin1");
  if (text.startsWith("version https://git-lfs.github.com/")) {
    throw new CheckpointError(`${file.path} is a Git LFS pointer, not the file itself.`, {
      hint: 'Run "git lfs pull" in its repository.',
    });
  }
}

function cutOff(path: string, at: number): CheckpointError {
  return new CheckpointError(`${path} ends in the middle of its data, at byte ${at}.`, {
    hint: "Copy or download it again.",
  });
}

function unreadable(path: string, error: unknown): CheckpointError {
  const { code, message } = error as NodeJS.ErrnoException;
  const reason = code === "ENOENT" ? "it does not exist" : code === "EACCES" ? "permission is denied" : message;
  return new CheckpointError(`${path} cannot be read: ${reason}.`, { cause: error });
}

/** Number of elements, or null when a size is not a whole number >= 0 or the product is not exact in a double. */
export function elementCount(shape: readonly number[]): number | null {
  let count = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) return null;
    count *= size;
    if (!Number.isSafeInteger(count)) return null;
  }
  return count;
}
