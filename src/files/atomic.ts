import { randomBytes } from "node:crypto";
import { lstat, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { OutputError } from "../errors.js";

/** What a file is made of: all at once, or piece by piece so that no more than one piece is in memory. */
export type FileContent = string | Uint8Array | AsyncIterable<Uint8Array>;

/**
 * Writes `path` so that a reader, or a process killed at any instant, finds the old file or the new one and nothing in
 * between: a temporary file in the same folder, fsync, rename, fsync of the folder.
 *
 * @throws OutputError when the folder cannot be written or the disk is full; the old file is then untouched.
 */
export async function writeFileAtomic(path: string, content: FileContent): Promise<void> {
  const target = resolve(path);
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`);
  try {
    await using file = await open(temporary, "wx");
    if (typeof content === "string" || content instanceof Uint8Array) {
      await file.writeFile(content);
    } else {
      for await (const piece of content) await file.writeFile(piece);
    }
    await file.sync();
    await rename(temporary, target);
    await syncFolder(dirname(target));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw asOutputError(error, path);
  }
}

/** Makes a folder and those above it. @throws OutputError when that is not possible. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await makeWithParents(resolve(path));
  } catch (error) {
    // What is missing above was made, or tried; so nobody can be told to make it.
    if (!isSystemError(error) || error.code !== "ENOENT") throw asOutputError(error, path);
    throw new OutputError(`${path} cannot be made: what stands above it takes no new folders.`, {
      cause: error,
      hint: "Choose another path; this one leads into a file system such as /proc, or through a link to nowhere.",
    });
  }
}

/** Not Node's own recursive mkdir: that never returns where a folder refuses new ones with ENOENT, as /proc does. */
async function makeWithParents(path: string): Promise<void> {
  const make = () =>
    mkdir(path).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST" || !(await stat(path)).isDirectory()) throw error;
    });
  try {
    await make();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || dirname(path) === path) throw error;
    await makeWithParents(dirname(path));
    await make();
  }
}

/**
 * Builds a whole folder beside `target` and puts it in the target's place. A kill leaves the old folder, or the new
 * one, or (between the two renames that this takes) neither under its name but the new one complete beside it: then
 * `recoverFolder`, which the next `replaceFolder` also calls, puts it in place.
 *
 * `build` must fsync what it writes, as `writeFileAtomic` does.
 *
 * @throws OutputError when the folder cannot be written or the disk is full; the old folder is then untouched.
 */
export async function replaceFolder(target: string, build: (temporary: string) => Promise<void>): Promise<void> {
  const { parent, name, complete } = places(target);
  try {
    await makeWithParents(parent);
    await recoverFolder(target);
    await removeLeftOvers(parent, name);
    const partial = join(parent, `.${name}.partial-${process.pid}-${randomBytes(4).toString("hex")}`);
    try {
      await mkdir(partial);
      await build(partial);
      await syncFolder(partial);
      await rename(partial, complete);
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
    await syncFolder(parent);
    await recoverFolder(target);
  } catch (error) {
    throw asOutputError(error, target);
  }
}

/** Ends a replacement of `target` that a kill cut off between its renames; does nothing when there was none. */
export async function recoverFolder(target: string): Promise<void> {
  const { parent, complete, previous } = places(target);
  try {
    // Only a folder that was built to its end bears this name.
    if (await exists(complete)) {
      if (await exists(target)) {
        await rm(previous, { recursive: true, force: true });
        await rename(target, previous);
      }
      await rename(complete, target);
      await syncFolder(parent);
    }
    await rm(previous, { recursive: true, force: true });
  } catch (error) {
    throw asOutputError(error, target);
  }
}

function places(target: string): { parent: string; name: string; complete: string; previous: string } {
  const absolute = resolve(target);
  const parent = dirname(absolute);
  const name = basename(absolute);
  return { parent, name, complete: join(parent, `.${name}.complete`), previous: join(parent, `.${name}.previous`) };
}

/** Removes what builds of this folder by processes that are gone have left behind. */
async function removeLeftOvers(parent: string, name: string): Promise<void> {
  const start = `.${name}.partial-`;
  for (const entry of await readdir(parent)) {
    if (!entry.startsWith(start)) continue;
    const pid = Number.parseInt(entry.slice(start.length), 10);
    if (!(await exists(`/proc/${pid}`))) await rm(join(parent, entry), { recursive: true, force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isSystemError(error) && error.code === "ENOENT") return false;
    throw error;
  }
}

/** A rename is on disk only once its folder is. */
async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}

const reasons: Record<string, { reason: string; hint: string }> = {
  ENOSPC: { reason: "the disk is full", hint: "Free some space, or write to another disk." },
  EDQUOT: { reason: "the disk quota is used up", hint: "Free some space, or write to another disk." },
  EFBIG: { reason: "the file would be larger than this file system or limit allows", hint: "Write to another disk." },
  EACCES: { reason: "permission is denied", hint: "Choose a folder that you may write to." },
  EPERM: { reason: "permission is denied", hint: "Choose a folder that you may write to." },
  EROFS: { reason: "the file system is read-only", hint: "Choose a folder that you may write to." },
  ENOENT: { reason: "its folder does not exist", hint: "Make the folder first." },
  ENOTDIR: { reason: "a part of its path is a file", hint: "Choose another path." },
  EEXIST: { reason: "a file of that name stands there", hint: "Choose another path." },
  EISDIR: { reason: "a folder of that name stands there", hint: "Choose another path." },
  EIO: { reason: "the disk reports an error", hint: "Look at the system's log; write to another disk." },
};

/** Turns the system's refusal to write `path` into an OutputError that says why; leaves any other error as it is. */
export function asOutputError(error: unknown, path: string): unknown {
  if (!isSystemError(error)) return error;
  const known = reasons[error.code];
  const details = { cause: error, ...(known && { hint: known.hint }) };
  return new OutputError(`${path} cannot be written: ${known?.reason ?? error.message}.`, details);
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException & { code: string; syscall: string } {
  return error instanceof Error && "code" in error && typeof error.code === "string" && "syscall" in error;
}
