import { readFile, readlink, rm, stat, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";
import { makeFolder, writeFileAtomic } from "../files/atomic.js";

/**
 * Hugging Face's own cache, shared with its Python libraries: one folder a repository, with the files by their hash in
 * `blobs`, the trees by commit in `snapshots` (links to the blobs), and the commit of each branch and tag in `refs`.
 */
export class RepositoryCache {
  readonly folder: string;
  /** Where locks on the repository's downloads are kept. */
  readonly locks: string;

  constructor(name: string) {
    const folder = ["models", ...name.split("/")].join("--");
    this.folder = join(cacheFolder(), folder);
    this.locks = join(cacheFolder(), ".locks", folder);
  }

  blob(etag: string): string {
    return join(this.folder, "blobs", etag);
  }

  snapshot(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  /** The commit that a branch or tag had when it was last asked for; null when it never was. */
  async commitOf(revision: string): Promise<string | null> {
    if (isCommit(revision)) return revision;
    const text = await readFile(this.#ref(revision), "utf8").catch(() => "");
    return isCommit(text.trim()) ? text.trim() : null;
  }

  async rememberCommit(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    await makeFolder(dirname(this.#ref(revision)));
    await writeFileAtomic(this.#ref(revision), commit);
  }

  /** Puts a blob into the tree of a commit, by a relative link so that the cache can be moved. */
  async link(commit: string, file: string, etag: string): Promise<void> {
    const path = join(this.snapshot(commit), file);
    const target = relative(dirname(path), this.blob(etag));
    if ((await readlink(path).catch(() => null)) === target) return;
    await makeFolder(dirname(path));
    await rm(path, { force: true });
    await symlink(target, path).catch((error: NodeJS.ErrnoException) => {
      // Another process has just made the same link.
      if (error.code !== "EEXIST") throw error;
    });
  }

  async has(commit: string, file: string): Promise<boolean> {
    return (await stat(join(this.snapshot(commit), file)).catch(() => null)) !== null;
  }

  #ref(revision: string): string {
    return join(this.folder, "refs", ...revision.split("/"));
  }
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** As huggingface_hub finds it: HF_HUB_CACHE, else `hub` in HF_HOME, else in the user's cache folder. */
function cacheFolder(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE } = process.env;
  return expandHome(HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || join(hubHome(), "hub"));
}

/** The folder of Hugging Face's libraries: HF_HOME, else `huggingface` in the user's cache folder. */
export function hubHome(): string {
  const { HF_HOME, XDG_CACHE_HOME } = process.env;
  return expandHome(HF_HOME || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface"));
}

function expandHome(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}
