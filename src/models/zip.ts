import { CheckpointError } from "../errors.js";
import { dataPosition, readZipDirectory as readDirectory, ZipError } from "../files/zip-directory.js";
import type { RandomAccessFile } from "./tensor-file.js";

/** Where a stored (uncompressed) entry's bytes are in the file. */
export interface ZipEntry {
  readonly position: number;
  readonly size: number;
}

/**
 * The entries of a zip file by name. Only stored entries are allowed, which is what PyTorch writes, and each must lie
 * in the file as a whole.
 *
 * @throws CheckpointError for anything else.
 */
export async function readZipDirectory(file: RandomAccessFile): Promise<Map<string, ZipEntry>> {
  try {
    const entries = new Map<string, ZipEntry>();
    for (const entry of await readDirectory(file)) {
      const what = `the entry ${JSON.stringify(entry.name)}`;
      if (entry.encrypted) throw new ZipError(`${what} is encrypted`);
      if (entry.method !== 0) throw new ZipError(`${what} is compressed, which PyTorch never does`);
      if (entry.packedSize !== entry.size) throw new ZipError(`${what} has two different sizes`);
      if (entries.has(entry.name)) throw new ZipError(`${what} stands there twice`);
      entries.set(entry.name, { size: entry.size, position: await dataPosition(file, entry) });
    }
    return entries;
  } catch (error) {
    if (!(error instanceof ZipError)) throw error;
    throw new CheckpointError(`${file.path} is not a whole file of torch.save (a zip): ${error.message}.`, {
      hint: "Copy or download it again.",
    });
  }
}
