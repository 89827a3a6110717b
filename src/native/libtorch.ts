import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

import { NativeError } from "../errors.js";
import { cacheFolder } from "./cache-folder.js";
import { setupCommand } from "./package-root.js";
import { hasNvidiaGpu } from "./platform.js";

/** The libtorch that set-up fetches when none is found. */
export const pinnedTorch = "2.15.0";
/** Supported minor versions, both ends included. */
export const supportedTorch = { oldest: "2.11", newest: "2.15" } as const;

export type LibtorchSource = "LIBTORCH" | "cache" | "python" | "pip" | "archive";

/** A libtorch on disk: `root` holds `lib/` and `include/`. */
export interface Libtorch {
  root: string;
  /** Such as "2.15.0", without the local part that names the CUDA version. */
  version: string;
  source: LibtorchSource;
  /** True when it can drive a GPU (lib/libtorch_cuda.so is there). */
  cuda: boolean;
}

export interface LibtorchCandidate {
  source: LibtorchSource;
  /** The folder, requirement or address that was looked at; empty when there was none. */
  path: string;
  /** What was found there, or why it was passed over. */
  outcome: string;
}

export interface LibtorchSearch {
  chosen: Libtorch | null;
  /** One entry per source, in the order of the search. */
  candidates: LibtorchCandidate[];
  /** Set when the search must stop here: LIBTORCH is set, but wrong. */
  error: NativeError | null;
}

/** Written into a cache entry before it is put in place: an entry without it is no entry. */
export interface CacheManifest {
  version: string;
  /** Fetched for a machine with a GPU. */
  cuda: boolean;
  /** Folder of `lib/` and `include/`, relative to the entry. */
  root: string;
  /** Sizes in bytes of the shared libraries, by path relative to `root`. */
  libraries: Record<string, number>;
}

export const manifestName = "steadytune-libtorch.json";

export function libtorchCache(env: NodeJS.ProcessEnv = process.env): string {
  return join(cacheFolder(env), "libtorch");
}

/** The folder of one fetched libtorch. */
export function cacheEntry(version: string, cuda: boolean, env: NodeJS.ProcessEnv = process.env): string {
  return join(libtorchCache(env), `${version}-${cuda ? "cuda" : "cpu"}`);
}

/** "2.15" of "2.15.0", "2.15.1+cu132" or "2.15.0a0"; null when it is no version. */
export function torchMinor(version: string): string | null {
  return /^(\d+\.\d+)(?![\d])/.exec(version)?.[1] ?? null;
}

export function isSupportedTorch(version: string): boolean {
  const minor = torchMinor(version);
  if (minor === null) return false;
  const compare = (other: string): number => minor.localeCompare(other, "en", { numeric: true });
  return compare(supportedTorch.oldest) >= 0 && compare(supportedTorch.newest) <= 0;
}

const supportedRange = `${supportedTorch.oldest} to ${supportedTorch.newest}`;

type Inspection =
  { version: string; cuda: boolean } | { problem: string; code: "ERR_LIBTORCH_NOT_FOUND" | "ERR_LIBTORCH_VERSION" };

/** Looks at a folder that should be a libtorch: the parts that building and loading need, and its version. */
export function inspectLibtorch(root: string): Inspection {
  const missing = ["lib/libtorch_cpu.so", "lib/libc10.so", "include/ATen/ATen.h"].find(
    (part) => !existsSync(join(root, part)),
  );
  if (missing !== undefined) {
    const what = existsSync(root) ? `holds no ${missing}` : "does not exist";
    return { problem: what, code: "ERR_LIBTORCH_NOT_FOUND" };
  }
  const version = readVersion(root);
  if (version === null)
    return { problem: "does not say its version (version.py, build-version)", code: "ERR_LIBTORCH_VERSION" };
  if (!isSupportedTorch(version)) {
    return { problem: `is torch ${version}; supported are ${supportedRange}`, code: "ERR_LIBTORCH_VERSION" };
  }
  return { version, cuda: existsSync(join(root, "lib/libtorch_cuda.so")) };
}

function readVersion(root: string): string | null {
  const sources: [string, RegExp][] = [
    ["version.py", /^__version__ = ['"](\d+\.\d+\.\d+)/m],
    ["build-version", /^(\d+\.\d+\.\d+)/],
    ["include/torch/headeronly/version.h", /^#define TORCH_VERSION "(\d+\.\d+\.\d+)/m],
    ["include/torch/csrc/api/include/torch/version.h", /^#define TORCH_VERSION "(\d+\.\d+\.\d+)/m],
  ];
  for (const [file, pattern] of sources) {
    const path = join(root, file);
    if (!existsSync(path)) continue;
    const version = pattern.exec(readFileSync(path, "utf8"))?.[1];
    if (version !== undefined) return version;
  }
  return null;
}

/**
 * Finds libtorch without fetching anything: `LIBTORCH`, the project's cache, the torch of `python3`; the two sources
 * that need a download are listed as not tried. `LIBTORCH` set but wrong ends the search: the reader asked for that
 * one, and another in its place would be a surprise.
 */
export function findLibtorch(options: { env?: NodeJS.ProcessEnv } = {}): LibtorchSearch {
  const env = options.env ?? process.env;
  const candidates: LibtorchCandidate[] = [];
  let chosen: Libtorch | null = null;
  let error: NativeError | null = null;

  const steps: { source: LibtorchSource; look: () => { path: string; found: Libtorch | string } }[] = [
    { source: "LIBTORCH", look: () => lookAtVariable(env) },
    { source: "cache", look: () => lookInCache(env) },
    { source: "python", look: () => lookInPython(env) },
    {
      source: "pip",
      look: () => ({ path: `torch==${pinnedTorch}`, found: `not tried; \`${setupCommand}\` fetches it` }),
    },
    { source: "archive", look: () => ({ path: "", found: `not tried; \`${setupCommand}\` does where pip fails` }) },
  ];
  for (const { source, look } of steps) {
    if (chosen !== null) {
      candidates.push({ source, path: "", outcome: `not looked at: ${chosen.source} comes first` });
      continue;
    }
    if (error !== null) {
      candidates.push({ source, path: "", outcome: "not looked at: LIBTORCH is set, but wrong" });
      continue;
    }
    const { path, found } = look();
    if (typeof found === "string") {
      candidates.push({ source, path, outcome: found });
      if (source === "LIBTORCH" && env.LIBTORCH) error = wrongVariable(env.LIBTORCH);
    } else {
      candidates.push({ source, path, outcome: `torch ${found.version}${found.cuda ? " with CUDA" : ""}, in use` });
      chosen = found;
    }
  }
  return { chosen, candidates, error };
}

/** As `findLibtorch`, but throws when there is none. */
export function requireLibtorch(options: { env?: NodeJS.ProcessEnv } = {}): Libtorch {
  const search = findLibtorch(options);
  if (search.chosen !== null) return search.chosen;
  if (search.error !== null) throw search.error;
  const looked = search.candidates
    .filter(({ source }) => source !== "pip" && source !== "archive")
    .map(({ source, path, outcome }) => `${source}: ${path === "" ? "" : `${path} `}${outcome}`);
  throw new NativeError("ERR_LIBTORCH_NOT_FOUND", `libtorch was not found (${looked.join("; ")}).`, {
    hint: `Run \`${setupCommand}\`, which fetches libtorch ${pinnedTorch}, or set LIBTORCH to a libtorch folder.`,
  });
}

function lookAtVariable(env: NodeJS.ProcessEnv): { path: string; found: Libtorch | string } {
  if (!env.LIBTORCH) return { path: "", found: "not set" };
  return lookAt(resolve(env.LIBTORCH), "LIBTORCH");
}

function lookAt(root: string, source: LibtorchSource): { path: string; found: Libtorch | string } {
  const inspection = inspectLibtorch(root);
  if ("problem" in inspection) return { path: root, found: inspection.problem };
  return { path: root, found: { root, source, ...inspection } };
}

function wrongVariable(value: string): NativeError {
  const root = resolve(value);
  const inspection = inspectLibtorch(root);
  const { problem, code } =
    "problem" in inspection ? inspection : { problem: "changed meanwhile", code: "ERR_LIBTORCH_NOT_FOUND" as const };
  // People point at the folder that they unpacked, at its lib/, or at site-packages.
  const near = [join(root, "libtorch"), join(root, "torch"), dirname(root)].find(
    (folder) => !("problem" in inspectLibtorch(folder)),
  );
  const hint =
    near === undefined
      ? "Point LIBTORCH at a folder with lib/libtorch_cpu.so and include/, or unset it: `unset LIBTORCH`."
      : `Did you mean LIBTORCH=${near}?`;
  return new NativeError(code, `LIBTORCH=${value} ${problem}.`, { hint });
}

interface CacheEntry {
  folder: string;
  manifest: CacheManifest;
}

/** Finished entries of the cache, the one to use first: fit for this machine's GPU, then pinned, then newest. */
function cacheEntries(env: NodeJS.ProcessEnv): CacheEntry[] {
  const folder = libtorchCache(env);
  if (!existsSync(folder)) return [];
  const entries: CacheEntry[] = [];
  for (const name of readdirSync(folder)) {
    const manifest = join(folder, name, manifestName);
    // Names with a dot in front are being unpacked.
    if (name.startsWith(".") || !existsSync(manifest)) continue;
    entries.push({ folder: join(folder, name), manifest: JSON.parse(readFileSync(manifest, "utf8")) as CacheManifest });
  }
  const gpu = hasNvidiaGpu();
  const rank = ({ manifest }: CacheEntry): number =>
    (manifest.version === pinnedTorch ? 2 : 0) + (manifest.cuda === gpu ? 1 : 0);
  return entries.sort(
    (a, b) => rank(b) - rank(a) || b.manifest.version.localeCompare(a.manifest.version, "en", { numeric: true }),
  );
}

function lookInCache(env: NodeJS.ProcessEnv): { path: string; found: Libtorch | string } {
  const entries = cacheEntries(env);
  let first: { path: string; found: string } | null = null;
  for (const { folder, manifest } of entries) {
    const damaged = damagedLibrary(folder, manifest);
    const looked =
      damaged === null
        ? lookAt(join(folder, manifest.root), "cache")
        : { path: folder, found: `is damaged (${damaged}); \`${setupCommand}\` replaces it` };
    if (typeof looked.found !== "string") return looked;
    first ??= { path: looked.path, found: looked.found };
  }
  return first ?? { path: libtorchCache(env), found: "holds none" };
}

/** Says which library of an entry has not the size that was unpacked; null when all have. */
function damagedLibrary(folder: string, manifest: CacheManifest): string | null {
  for (const [name, bytes] of Object.entries(manifest.libraries)) {
    const path = join(folder, manifest.root, name);
    const size = existsSync(path) ? statSync(path).size : null;
    if (size !== bytes) return size === null ? `${name} is missing` : `${name} has ${size} bytes instead of ${bytes}`;
  }
  return null;
}

// Finds the package without importing it: importing torch takes seconds. The current folder is taken off the path, or
// any folder called torch in it would be found.
const findTorchInPython = `
import importlib.util, sys
sys.path[:] = [p for p in sys.path if p]
spec = importlib.util.find_spec("torch")
print(spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else "")
`;

function lookInPython(env: NodeJS.ProcessEnv): { path: string; found: Libtorch | string } {
  const result = spawnSync("python3", ["-c", findTorchInPython], { env, encoding: "utf8", timeout: 30_000 });
  if (result.error !== undefined) {
    const missing = (result.error as NodeJS.ErrnoException).code === "ENOENT";
    return { path: "python3", found: missing ? "is not on PATH" : `does not run: ${result.error.message}` };
  }
  if (result.status !== 0)
    return { path: "python3", found: `failed: ${result.stderr.trim().split("\n").at(-1) ?? ""}` };
  const root = result.stdout.trim();
  if (root === "") return { path: "python3", found: "has no torch" };
  return lookAt(root, "python");
}
