import { mkdir, readdir, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { NativeError, OutputError } from "../../errors.js";
import { makeFolder } from "../../files/atomic.js";
import { lockFolder } from "../../files/lock.js";
import { ZipError } from "../../files/zip-directory.js";
import {
  cacheEntry,
  findLibtorch,
  inspectLibtorch,
  libtorchCache,
  manifestName,
  pinnedTorch,
  type CacheManifest,
  type Libtorch,
} from "../libtorch.js";
import { setupCommand } from "../package-root.js";
import { hasNvidiaGpu } from "../platform.js";
import { formatBytes } from "./bytes.js";
import type { FetchContext } from "./fetch-context.js";
import { fetchArchive } from "./official-archive.js";
import type { ReportProgress } from "./progress.js";
import { isDiskError, SourceFailure } from "./source-failure.js";
import { fetchWheels } from "./torch-wheels.js";
import { waitForLock } from "./wait-for-lock.js";

export interface FetchOptions {
  /** The pinned one unless told. */
  version?: string;
  env?: NodeJS.ProcessEnv;
  /** Fetch what a GPU needs too; by default when this machine has one. */
  cuda?: boolean;
  report?: ReportProgress;
  /** Free bytes of the disk under a folder. */
  freeBytes?: (folder: string) => Promise<number>;
}

/** Bytes on disk at the highest: the wheels beside what is unpacked from them, as measured for 2.15.0. */
const spaceNeeded = { cpu: 1.2e9, cuda: 9e9 };

/**
 * Fetches libtorch into the cache: by pip, else from the official archive. The entry appears in one rename
 * when it is complete, so a call that is killed leaves none; two processes take turns, and the second finds the
 * work done. Throws NativeError when every source failed, OutputError when the cache cannot be written.
 */
export async function fetchLibtorch(options: FetchOptions = {}): Promise<Libtorch> {
  const env = options.env ?? process.env;
  const cuda = options.cuda ?? hasNvidiaGpu();
  const report = options.report ?? (() => {});
  const cache = libtorchCache(env);
  const version = options.version ?? pinnedTorch;
  const entry = cacheEntry(version, cuda, env);
  try {
    await makeFolder(cache);
    const lock = await waitForLock(
      () => lockFolder(cache),
      (holder) => report({ type: "note", text: `waiting: ${holder}` }),
    );
    try {
      const standing = findLibtorch({ env: { ...env, LIBTORCH: "" } }).chosen;
      if (standing?.source === "cache" && standing.root.startsWith(entry)) return standing;
      await removeLeftovers(cache);
      const context: FetchContext = {
        version,
        cuda,
        env,
        report,
        downloads: join(cache, ".downloads"),
        target: join(cache, ".unpacking"),
        needSpace: (bytes, what) => needSpace(cache, bytes, what, options.freeBytes ?? freeBytes),
      };
      return await fetchFromSources(context, entry);
    } finally {
      await rm(join(cache, ".unpacking"), { recursive: true, force: true });
      await lock.release();
    }
  } catch (error) {
    const cause = error instanceof OutputError ? error.cause : error;
    if (!isDiskError(cause)) throw error;
    const full = cause.code === "ENOSPC" || cause.code === "EDQUOT";
    throw new OutputError(
      full ? `The disk of ${cache} is full.` : `${cache} cannot be written (${cause.code ?? ""}).`,
      {
        hint: `Choose another folder: \`STEADYTUNE_CACHE=/other/folder ${setupCommand}\`.`,
        cause,
      },
    );
  }
}

async function fetchFromSources(context: FetchContext, entry: string): Promise<Libtorch> {
  const { report, target } = context;
  const failures: { name: string; failure: SourceFailure }[] = [];
  const sources: { name: string; fetch: (context: FetchContext) => Promise<{ root: string; used: string[] }> }[] = [
    { name: "pip", fetch: fetchWheels },
    { name: "official archive", fetch: fetchArchive },
  ];
  for (const { name, fetch } of sources) {
    try {
      await rm(target, { recursive: true, force: true });
      await mkdir(target, { recursive: true });
      await mkdir(context.downloads, { recursive: true });
      await context.needSpace(context.cuda ? spaceNeeded.cuda : spaceNeeded.cpu, "to fetch libtorch");
      const { root, used } = await fetch(context);
      const libtorch = await publish(context, root, entry);
      // What was unpacked is not needed again.
      await Promise.all(used.map((path) => rm(path, { force: true })));
      return libtorch;
    } catch (error) {
      const failure =
        error instanceof ZipError
          ? new SourceFailure(error.message, `Run it again: \`${setupCommand}\`.`, error)
          : error;
      if (!(failure instanceof SourceFailure)) throw error;
      report({ type: "note", text: `${name}: ${failure.message}` });
      failures.push({ name, failure });
    }
  }
  const reasons = failures.map(({ name, failure }) => `${name}: ${failure.message}`).join("; ");
  throw new NativeError("ERR_LIBTORCH_NOT_FOUND", `libtorch ${context.version} could not be fetched (${reasons}).`, {
    hint: [...new Set(failures.map(({ failure }) => failure.hint))].join("\n"),
    cause: failures[0]?.failure,
  });
}

/** Checks the unpacked folder, notes the sizes of its libraries, and moves it to its place in one rename. */
async function publish(context: FetchContext, root: string, entry: string): Promise<Libtorch> {
  const found = inspectLibtorch(join(context.target, root));
  if ("problem" in found) {
    throw new SourceFailure(`what was unpacked ${found.problem}`, "Set LIBTORCH to a libtorch folder.");
  }
  const libraries: Record<string, number> = {};
  for (const name of await readdir(join(context.target, root, "lib"))) {
    libraries[`lib/${name}`] = (await stat(join(context.target, root, "lib", name))).size;
  }
  const manifest: CacheManifest = { version: found.version, cuda: context.cuda, root, libraries };
  await writeFile(join(context.target, manifestName), `${JSON.stringify(manifest, null, 2)}\n`);
  await rm(entry, { recursive: true, force: true });
  await rename(context.target, entry);
  return { root: join(entry, root), source: "cache", ...found };
}

/** A killed call leaves a folder that was being unpacked and pip's temporary folders. */
async function removeLeftovers(cache: string): Promise<void> {
  await rm(join(cache, ".unpacking"), { recursive: true, force: true });
  const downloads = join(cache, ".downloads");
  await mkdir(downloads, { recursive: true });
  for (const name of await readdir(downloads)) {
    if (name.startsWith(".pip-")) await rm(join(downloads, name), { recursive: true, force: true });
  }
}

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

async function needSpace(
  folder: string,
  bytes: number,
  what: string,
  free: (folder: string) => Promise<number>,
): Promise<void> {
  const left = await free(folder);
  if (left >= bytes) return;
  throw new OutputError(
    `The disk of ${folder} has ${formatBytes(left)} left, and ${formatBytes(bytes)} are needed ${what}.`,
    { hint: `Free space, or choose another disk: \`STEADYTUNE_CACHE=/other/disk ${setupCommand}\`.` },
  );
}
