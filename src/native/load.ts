import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";

import { NativeError } from "../errors.js";
import { cudaCommand, findCuda, type CudaFiles } from "./cuda.js";
import { requireLibtorch, torchMinor, type Libtorch } from "./libtorch.js";
import { packageRoot, setupCommand } from "./package-root.js";
import { checkPlatform } from "./platform.js";
import type { NativeAddon } from "./types.js";

const require = createRequire(import.meta.url);

/** Written beside the `.node` file when it is built. */
export interface BuildRecord {
  /** Version of steadytune. */
  version: string;
  /** libtorch that it was compiled against, such as "2.15.0". */
  torch: string;
  /** Hash of all that the addon is made of. */
  sources: string;
  /** Hash of what it shares with the CUDA kernels. */
  operators: string;
}

export const buildRecordName = "steadytune.json";

export interface AddonFile {
  path: string;
  record: BuildRecord;
}

/** The parts of node-gyp-build that decide which file of a prebuilds folder fits this process. */
interface NodeGypBuild {
  parseTags(file: string): PrebuildTags | undefined;
  matchTags(runtime: string, abi: string): (tags: PrebuildTags | undefined) => boolean;
  compareTags(runtime: string): (a: PrebuildTags, b: PrebuildTags) => number;
}

interface PrebuildTags {
  file: string;
}

/** Every addon under `root`, those in prebuilds/torch-<minor>/linux-x64 before the one in build/Release. */
export function listAddons(root: string = packageRoot): AddonFile[] {
  const prebuilds = readFolder(join(root, "prebuilds"))
    .filter((name) => name.startsWith("torch-"))
    .map((name) => matchingPrebuild(join(root, "prebuilds", name, `${process.platform}-${process.arch}`)));
  const built = builtAddon(root);
  return [...prebuilds, existsSync(built) ? built : null].flatMap((path) => {
    const record = path === null ? null : readBuildRecord(path);
    return path === null || record === null ? [] : [{ path, record }];
  });
}

function builtAddon(root: string): string {
  return join(root, "build/Release/steadytune.node");
}

/** node-gyp-build's own entry insists on one folder named prebuilds, and there is one for each libtorch here. */
function matchingPrebuild(folder: string): string | null {
  const { parseTags, matchTags, compareTags } = require("node-gyp-build") as NodeGypBuild;
  const fitting = readFolder(folder)
    .map(parseTags)
    .filter((tags): tags is PrebuildTags => matchTags("node", process.versions.modules)(tags))
    .sort(compareTags("node"));
  return fitting[0] === undefined ? null : join(folder, fitting[0].file);
}

function readFolder(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function readBuildRecord(addon: string): BuildRecord | null {
  const path = join(addon, "..", buildRecordName);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as BuildRecord) : null;
}

/**
 * The addon that fits a libtorch. libtorch's C++ interface changes between minor versions, and a mismatch ends in a
 * missing symbol or a crash, so this is settled before the file is opened.
 */
export function findAddon(
  libtorch: Pick<Libtorch, "root" | "version" | "source">,
  root: string = packageRoot,
): AddonFile {
  const addons = listAddons(root);
  const fitting = addons.find(({ record }) => torchMinor(record.torch) === torchMinor(libtorch.version));
  if (fitting !== undefined) return fitting;
  const hint = `Run \`${setupCommand}\`, which builds the addon for libtorch ${libtorch.version}.`;
  if (addons.length === 0) {
    const message = existsSync(builtAddon(root))
      ? `${builtAddon(root)} has no ${buildRecordName} beside it that says what it was built for.`
      : `The addon is not built: ${root} holds no build/Release/steadytune.node and no prebuilds.`;
    throw new NativeError("ERR_ADDON", message, { hint });
  }
  const built = [...new Set(addons.map(({ record }) => record.torch))].join(" and ");
  throw new NativeError(
    "ERR_LIBTORCH_VERSION",
    `The addon was built for libtorch ${built}, but the libtorch in use (${libtorch.source}, ${libtorch.root}) is ${libtorch.version}.`,
    { hint },
  );
}

// Not among Node's constants. libtorch must never be unloaded: its threads and its thread-locals outlive any handle.
const RTLD_NODELETE = 0x1000;

/**
 * Opens a plain shared library in this process, by absolute path, so that what is opened later finds it by its name
 * and LD_LIBRARY_PATH is not needed. Node's only way to call dlopen is made for addons: it opens the library, finds
 * that no addon registered itself, closes its handle and throws exactly that.
 */
export function preload(path: string): void {
  try {
    process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (message.startsWith("Module did not self-register")) return;
    throw new NativeError("ERR_ADDON", `${path} does not load: ${message}`, {
      cause: error,
      hint: /cannot open shared object file/.test(message)
        ? `A library that this libtorch needs is missing; unset LIBTORCH and run \`${setupCommand}\` to fetch a complete one.`
        : "Is this libtorch made for another machine, or for a newer glibc?",
    });
  }
}

let loaded: { addon: NativeAddon; cudaProblem: NativeError | null } | undefined;

/**
 * Finds libtorch without fetching it, checks that the addon was built for it, and opens both, with the CUDA half of
 * both where this machine has a GPU; later calls return the same addon. Throws NativeError: ERR_PLATFORM,
 * ERR_LIBTORCH_NOT_FOUND, ERR_LIBTORCH_VERSION or ERR_ADDON.
 */
export function loadAddon(): NativeAddon {
  loaded ??= open();
  return loaded.addon;
}

/** Why sessions of this process cannot compute on a GPU; null where they can. Throws what `loadAddon` does. */
export function cudaProblem(): NativeError | null {
  loaded ??= open();
  return loaded.cudaProblem;
}

/**
 * Settings that libraries below libtorch read from the environment when they start; the user's own win. They do not
 * reach libtorch where a worker thread is the first to load it: its `process.env` is a copy.
 *
 * libgomp's threads spin for milliseconds between two parallel regions before they sleep. Where anything else wants the
 * cores (a second trial, JavaScript itself) that makes a step several times slower; a short spin costs nothing where
 * nothing does.
 *
 * libtorch and oneDNN each keep 1024 compiled matrix products, 0.7 MB each, and a step takes 15. With their spare rows
 * (binding/kernels/tokens.h) the batches of short rows have about a dozen sizes: those fit into 192 and are never
 * compiled again, while memory stays flat.
 *
 * cuBLAS promises the same bits for the same call only in a workspace of fixed size; this is the one that NVIDIA names.
 */
function setLibraryDefaults(): void {
  if (process.env.OMP_WAIT_POLICY === undefined) process.env.GOMP_SPINCOUNT ??= "10000";
  process.env.LRU_CACHE_CAPACITY ??= "192";
  process.env.ONEDNN_PRIMITIVE_CACHE_CAPACITY ??= "192";
  process.env.CUBLAS_WORKSPACE_CONFIG ??= ":4096:8";
}

function open(): NonNullable<typeof loaded> {
  checkPlatform();
  const libtorch = requireLibtorch();
  const { path, record } = findAddon(libtorch);
  setLibraryDefaults();
  preload(join(libtorch.root, "lib/libc10.so"));
  preload(join(libtorch.root, "lib/libtorch_cpu.so"));
  const addon = openAddon(path);
  return { addon, cudaProblem: openCuda(addon, findCuda(libtorch, record)) };
}

function openAddon(path: string): NativeAddon {
  try {
    return require(path) as NativeAddon;
  } catch (error) {
    throw new NativeError(
      "ERR_ADDON",
      `${path} does not load: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
        hint: `Build it again: \`rm -r ${dirname(path)} && ${setupCommand}\`.`,
      },
    );
  }
}

/**
 * Opens the CUDA half, or says why not: a broken one must not keep the CPU from working. Now or never: libtorch looks
 * for it the first time that it is needed, and autograd counts the devices at the first backward pass.
 */
function openCuda(addon: NativeAddon, found: CudaFiles | NativeError): NativeError | null {
  if (found instanceof NativeError) return found;
  try {
    addon.openCuda(found);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const hint = error instanceof Error && "hint" in error ? String(error.hint) : `Run \`${cudaCommand}\` again.`;
    return new NativeError("ERR_CUDA_KERNELS", message, { cause: error, hint });
  }
  if (addon.info().gpus.length > 0) return null;
  return new NativeError("ERR_CUDA_KERNELS", "CUDA finds no GPU that it can use.", {
    hint: "See that `nvidia-smi` lists one and that its driver is new enough for this libtorch, or use --device cpu.",
  });
}
