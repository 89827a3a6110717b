import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type * as HubLibrary from "@huggingface/hub";
import { AbortedError, ConfigError, HubError, LockedError, OutputError, SteadytuneError } from "../errors.js";
import { asOutputError, makeFolder } from "../files/atomic.js";
import { lockFile, type Lock } from "../files/lock.js";
import { hubHome, isCommit, RepositoryCache } from "./hub-cache.js";
import { readWeightMap } from "./sharded.js";
import { weightFileNames } from "./weights.js";

export interface HubProgress {
  /** The file on its way. */
  file: string;
  fileBytes: number;
  fileTotalBytes: number;
  /** Over all files of the model, those in the cache included. */
  bytes: number;
  totalBytes: number;
}

export interface HubOptions {
  onProgress?: ((progress: HubProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface HubModel {
  /** The commit's folder in the cache. */
  folder: string;
  commit: string;
  /** What a person should be told, a sentence each. */
  notes: string[];
}

/** Taken when the repository has them, before the weights: so a folder with weights is a folder with everything. */
const sideFiles = [
  "config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.txt",
  "vocab.json",
  "merges.txt",
  "spiece.model",
  "sentencepiece.bpe.model",
];

const attempts = 3;

/**
 * A model from the Hugging Face hub, as a folder in Hugging Face's own cache: only the files that are needed, each
 * checked against its hash, and only those that are not there yet. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and
 * HF_HUB_OFFLINE mean what they mean to Hugging Face's Python libraries.
 *
 * @param name `org/name`, or a name alone for the hub's oldest models.
 * @param revision A branch, a tag or a commit.
 * @throws HubError when the model is not there, not allowed, or neither the hub nor the cache can deliver it.
 */
export async function fetchModel(name: string, revision: string, options: HubOptions = {}): Promise<HubModel> {
  checkName(name, revision);
  const cache = new RepositoryCache(name);
  const known = await cache.commitOf(revision);
  const cached = known !== null && (await isComplete(cache, known)) ? known : null;
  if (isOffline()) {
    if (cached !== null) return { folder: cache.snapshot(cached), commit: cached, notes: [] };
    throw new HubError(
      `${idOf(name, revision)} is not in the cache ${cache.folder}, and HF_HUB_OFFLINE forbids to fetch it.`,
      {
        hint: "Unset HF_HUB_OFFLINE, or give a local folder.",
      },
    );
  }
  if (cached !== null && isCommit(revision)) return { folder: cache.snapshot(cached), commit: cached, notes: [] };
  try {
    const commit = await new Download(await import("@huggingface/hub"), name, cache, options).run(revision);
    return { folder: cache.snapshot(commit), commit, notes: [] };
  } catch (error) {
    if (options.signal?.aborted) throw new AbortedError("the download was aborted", { cause: error });
    const problem = asHubError(error, name, revision);
    if (cached === null || !(problem instanceof Unreachable)) throw problem;
    const note = `${problem.message} The cached commit ${cached.slice(0, 12)} is used.`;
    return { folder: cache.snapshot(cached), commit: cached, notes: [note] };
  }
}

/** The hub did not answer, which says nothing about the model. */
class Unreachable extends HubError {
  override name = HubError.name;
}

interface RemoteFile {
  path: string;
  size: number;
  /** The name of its blob: the SHA-256 of a large file, Git's hash of a small one. */
  etag: string;
  /** Begun with what the hash is of besides the content. */
  newHash: () => Hash;
}

/** One model's way from the hub into the cache. */
class Download {
  readonly #hub: typeof HubLibrary;
  readonly #cache: RepositoryCache;
  readonly #options: HubOptions;
  readonly #request: { repo: string; hubUrl: string; fetch: typeof fetch };
  #done = 0;
  #total = 0;

  constructor(hub: typeof HubLibrary, name: string, cache: RepositoryCache, options: HubOptions) {
    this.#hub = hub;
    this.#cache = cache;
    this.#options = options;
    this.#request = { repo: name, hubUrl: endpoint(), fetch: authorizedFetch(options.signal) };
  }

  /** Returns the commit that the revision stands for. */
  async run(revision: string): Promise<string> {
    const { repo, hubUrl, fetch } = this.#request;
    const info = await this.#hub.modelInfo({
      name: repo,
      hubUrl,
      fetch,
      revision,
      additionalFields: ["sha", "filePaths"],
    });
    const commit = info.sha;
    if (!isCommit(commit)) throw new HubError(`${endpoint()} gave no commit for ${idOf(repo, revision)}.`);
    const names = new Set(info.filePaths);
    const weights = weightFileNames.find((file) => names.has(file));
    if (!names.has("config.json") || weights === undefined) {
      const missing = weights === undefined ? weightFileNames.join(", ") : "config.json";
      throw new HubError(`${idOf(repo, revision)} holds no model that can be read: it has no ${missing}.`);
    }
    const first = await this.#describe(commit, [...sideFiles.filter((file) => names.has(file)), weights]);
    this.#total = first.reduce((sum, { size }) => sum + size, 0);
    for (const file of first) await this.#bring(commit, file);
    if (weights.endsWith(".index.json")) {
      const map = await readWeightMap(join(this.#cache.snapshot(commit), weights));
      const shards = await this.#describe(commit, [...new Set(map.values())]);
      this.#total += shards.reduce((sum, { size }) => sum + size, 0);
      for (const file of shards) await this.#bring(commit, file);
    }
    // Last, so that a branch never points to a tree that is not complete.
    await this.#cache.rememberCommit(revision, commit);
    return commit;
  }

  async #describe(commit: string, paths: string[]): Promise<RemoteFile[]> {
    const infos = await this.#hub.pathsInfo({ ...this.#request, revision: commit, paths });
    return paths.map((path) => {
      const info = infos.find((candidate) => candidate.path === path);
      const etag = info?.lfs?.oid ?? info?.oid;
      // It becomes a file's name: nothing but a hash may pass.
      if (!info || etag === undefined || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag)) {
        throw new HubError(`${endpoint()} gives no hash of ${path} in ${this.#request.repo}.`);
      }
      const gitHash = (): Hash => createHash("sha1").update(`blob ${info.size}\0`);
      return { path, size: info.size, etag, newHash: info.lfs ? () => createHash("sha256") : gitHash };
    });
  }

  async #bring(commit: string, file: RemoteFile): Promise<void> {
    const before = this.#done;
    this.#report(file, 0, before);
    if (!(await exists(this.#cache.blob(file.etag)))) {
      await using _lock = await this.#lock(file.etag);
      // Another process may have brought it while this one waited.
      if (!(await exists(this.#cache.blob(file.etag)))) {
        await this.#fetchBlob(commit, file, (bytes) => this.#report(file, bytes, before));
      }
    }
    await this.#cache.link(commit, file.path, file.etag);
    this.#report(file, file.size, before);
  }

  #report(file: RemoteFile, fileBytes: number, before: number): void {
    this.#done = before + fileBytes;
    this.#options.onProgress?.({
      file: file.path,
      fileBytes,
      fileTotalBytes: file.size,
      bytes: this.#done,
      totalBytes: this.#total,
    });
  }

  /** Waits for whoever brings the same blob. */
  async #lock(etag: string): Promise<Lock> {
    await makeFolder(this.#cache.locks);
    for (;;) {
      try {
        // Not huggingface_hub's own lock, which is of another kind; nor does it share the unfinished file.
        return await lockFile(join(this.#cache.locks, `${etag}.steadytune.lock`), `the download of ${etag}`);
      } catch (error) {
        if (!(error instanceof LockedError)) throw error;
        this.#options.signal?.throwIfAborted();
        await sleep(200);
      }
    }
  }

  /** A connection that breaks is taken up again where it broke, also by the next call or process. */
  async #fetchBlob(commit: string, file: RemoteFile, onBytes: (bytes: number) => void): Promise<void> {
    const blob = this.#cache.blob(file.etag);
    const unfinished = `${blob}.steadytune.incomplete`;
    await makeFolder(dirname(blob));
    for (let attempt = 1; ; attempt++) {
      try {
        if ((await this.#append(commit, file, unfinished, onBytes)) === file.etag) {
          await rename(unfinished, blob);
          return;
        }
        await rm(unfinished, { force: true });
        throw new HubError(
          `${file.path} of ${this.#request.repo} arrived damaged: its hash is not the one announced.`,
          {
            hint: "Try again.",
          },
        );
      } catch (error) {
        const final = this.#options.signal?.aborted || error instanceof OutputError || isRefusal(error);
        if (final || attempt === attempts) throw error;
      }
    }
  }

  /** Adds what is missing to the unfinished file; returns the hash of the whole. */
  async #append(
    commit: string,
    file: RemoteFile,
    unfinished: string,
    onBytes: (bytes: number) => void,
  ): Promise<string> {
    const hash = file.newHash();
    let size = 0;
    if (await exists(unfinished)) {
      for await (const piece of createReadStream(unfinished)) {
        hash.update(piece as Buffer);
        size += (piece as Buffer).length;
      }
    }
    await using output = await openToAppend(unfinished);
    if (size < file.size) {
      // Plain HTTP: it can be resumed, and works through every mirror. Xet, the other way, does not.
      const remote = await this.#hub.downloadFile({ ...this.#request, path: file.path, revision: commit, xet: false });
      if (!remote) throw new HubError(`${endpoint()} no longer has ${file.path} of ${this.#request.repo}.`);
      const body = (size > 0 ? remote.slice(size, file.size) : remote).stream() as AsyncIterable<Uint8Array>;
      for await (const piece of body) {
        await output.write(piece).catch((error: unknown) => {
          throw asOutputError(error, unfinished);
        });
        hash.update(piece);
        size += piece.length;
        if (size > file.size) break;
        onBytes(size);
      }
      await output.sync();
      if (size < file.size) throw new Error(`the connection ended after ${size} of ${file.size} bytes of ${file.path}`);
    }
    return hash.digest("hex");
  }
}

async function openToAppend(path: string): Promise<Awaited<ReturnType<typeof open>>> {
  return open(path, "a").catch((error: unknown) => {
    throw asOutputError(error, path);
  });
}

/** Config, weights with all their shards, and a tokenizer. */
async function isComplete(cache: RepositoryCache, commit: string): Promise<boolean> {
  const has = (file: string): Promise<boolean> => cache.has(commit, file);
  if (!(await has("config.json"))) return false;
  if (!(await Promise.all(["tokenizer.json", "vocab.txt", "vocab.json", "spiece.model"].map(has))).includes(true))
    return false;
  for (const weights of weightFileNames) {
    if (!(await has(weights))) continue;
    if (!weights.endsWith(".index.json")) return true;
    const map = await readWeightMap(join(cache.snapshot(commit), weights)).catch(() => null);
    return map !== null && (await Promise.all([...new Set(map.values())].map(has))).every(Boolean);
  }
  return false;
}

function checkName(name: string, revision: string): void {
  const part = "[A-Za-z0-9][\\w.-]*";
  if (!new RegExp(`^(${part}/)?${part}$`).test(name) || name.includes("--") || name.includes("..")) {
    throw new ConfigError(`"${name}" is neither a folder nor the name of a model on the Hugging Face hub.`, {
      hint: "Give the path of a model's folder, or org/name, or org/name@revision.",
    });
  }
  if (!/^[\w.-]+(\/[\w.-]+)*$/.test(revision) || revision.split("/").some((step) => /^\.+$/.test(step))) {
    throw new ConfigError(`"${revision}" is not the name of a branch, a tag or a commit.`);
  }
}

function idOf(name: string, revision: string): string {
  return `${name}@${revision}`;
}

function endpoint(): string {
  return (process.env["HF_ENDPOINT"] || "https://huggingface.co").replace(/\/+$/, "");
}

function isOffline(): boolean {
  return /^(1|on|yes|true)$/i.test(process.env["HF_HUB_OFFLINE"] ?? "");
}

/** HF_TOKEN, else what `hf auth login` has stored. */
async function accessToken(): Promise<string | null> {
  const { HF_TOKEN, HF_TOKEN_PATH } = process.env;
  const stored = HF_TOKEN ?? (await readFile(HF_TOKEN_PATH || join(hubHome(), "token"), "utf8").catch(() => ""));
  return stored.trim() || null;
}

/**
 * Adds the token here and not through the library, which demands that a token begin with `hf_`: those of company
 * mirrors do not. It goes to the hub itself only; fetch drops it when a redirect leads to another host.
 */
function authorizedFetch(signal: AbortSignal | undefined): typeof fetch {
  const hubOrigin = new URL(endpoint()).origin;
  const token = accessToken();
  return async (input, init = {}) => {
    const headers = new Headers(init.headers);
    const url = new URL(input instanceof Request ? input.url : input);
    const value = await token;
    if (value !== null && url.origin === hubOrigin) headers.set("Authorization", `Bearer ${value}`);
    return fetch(input, { ...init, headers, ...(signal && { signal }) });
  };
}

function statusOf(error: unknown): number | null {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === "number" ? status : null;
}

/** An answer that asking again will not change. */
function isRefusal(error: unknown): boolean {
  const status = statusOf(error);
  return status !== null && status >= 400 && status < 500 && status !== 429;
}

function asHubError(error: unknown, name: string, revision: string): unknown {
  if (error instanceof SteadytuneError) return error;
  const id = idOf(name, revision);
  const status = statusOf(error);
  const here = `There is no folder ${name} here, so the hub was asked.`;
  if (status === 401 || status === 403) {
    return new HubError(`${endpoint()} does not give out ${id}: it is private, gated, or does not exist.`, {
      hint: `Check the name; for a private or gated model set HF_TOKEN to a token that may read it. ${here}`,
      cause: error,
    });
  }
  if (status === 404) {
    return new HubError(`${endpoint()} has no ${id}.`, {
      hint: `Check the name and the revision. ${here}`,
      cause: error,
    });
  }
  const { path } = error as NodeJS.ErrnoException;
  if (path !== undefined) return asOutputError(error, path);
  return new Unreachable(`${endpoint()} did not deliver ${id}: ${reasonOf(error)}.`, {
    hint: `Check the network, or HF_ENDPOINT; with the model in the cache, HF_HUB_OFFLINE=1 works without either. ${here}`,
    cause: error,
  });
}

/** fetch says "fetch failed" and keeps the reason in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? error.cause : null;
  return cause ? cause.message || String((cause as NodeJS.ErrnoException).code ?? cause.name) : error.message;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}
