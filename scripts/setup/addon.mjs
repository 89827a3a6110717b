import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, freemem } from "node:os";
import { dirname, join } from "node:path";

import { compiled } from "./libtorch.mjs";
import { root, run } from "./run.mjs";
import { SetupError } from "./setup-error.mjs";
import { note, say, since } from "./terminal.mjs";
import { checkTools } from "./tools.mjs";

const require = createRequire(import.meta.url);
const addon = join(root, "build/Release/steadytune.node");
const recordPath = join(root, "build/Release/steadytune.json");
/** What the addon is made of, and what its C++ tests are made of. */
export const addonSources = ["CMakeLists.txt", "binding"];
const testSources = [...addonSources, "test/core", "test/cuda"];
/** What the CUDA kernels share with the addon: both must be of the same. */
export const operatorSources = [
  "binding/kernels/schema.cpp",
  "binding/kernels/cuda/table.h",
  ...headersOf("binding/kernels"),
];
/** A compiler at work on libtorch's headers takes about this much memory. */
const bytesPerJob = 1.5e9;

/**
 * Compiles the addon for a libtorch, unless one stands that was made of the same sources for the same libtorch: a
 * prebuilt one (where `prebuilt` allows it) or an earlier build. With `tests` the C++ tests are compiled too. Returns
 * true where it compiled.
 */
export async function buildAddon({ libtorch, tests, prebuilt }) {
  if (await addonStands({ libtorch, tests, prebuilt })) return false;
  checkTools();
  const { lockFile } = await compiled("files/lock.js");
  const { waitForLock } = await compiled("native/fetch/wait-for-lock.js");
  mkdirSync(join(root, "build"), { recursive: true });
  const lock = await waitForLock(
    () => lockFile(join(root, "build/.set-up.lock"), join(root, "build")),
    (holder) => note(`waiting: ${holder}`),
  );
  try {
    if (await addonStands({ libtorch, tests, prebuilt })) return false;
    await compileAddon({ libtorch, tests });
    return true;
  } finally {
    await lock.release();
  }
}

async function addonStands({ libtorch, tests, prebuilt }) {
  const { listAddons } = await compiled("native/load.js");
  const { torchMinor } = await compiled("native/libtorch.js");
  if (tests && readRecord()?.tests !== hashFiles(testSources)) return false;
  const sources = hashFiles(addonSources);
  return listAddons(root).some(
    ({ path, record }) =>
      (prebuilt || path === addon) &&
      torchMinor(record.torch) === torchMinor(libtorch.version) &&
      record.sources === sources,
  );
}

async function compileAddon({ libtorch, tests }) {
  const { torchMinor } = await compiled("native/libtorch.js");
  const start = performance.now();
  const minor = torchMinor(libtorch.version);
  const built = {
    version: packageVersion(),
    torch: libtorch.version,
    // Taken before compiling: a source that is changed meanwhile must not count as built.
    sources: hashFiles(addonSources),
    operators: hashFiles(operatorSources),
    ...(tests ? { tests: hashFiles(testSources) } : {}),
  };
  note(`compiling the addon for libtorch ${libtorch.version} (${libtorch.root})`);
  // An addon of another libtorch must not pass for the new one while it is being replaced.
  if (torchMinor(readRecord()?.torch ?? "") !== minor) rmSync(recordPath, { force: true });
  await compileInto(join(root, "build"), { libtorch, tests });
  writeFileSync(recordPath, `${JSON.stringify(built, null, 2)}\n`);
  // A prebuilt addon comes first when loading, and this one is outdated now.
  rmSync(join(root, "prebuilds", `torch-${minor}`), { recursive: true, force: true });
  say("addon", `compiled in ${since(start)}`);
}

/** Compiles one of the C++ tests, beside an addon that stands. */
export function buildTest(target, { libtorch }) {
  return compileInto(join(root, "build"), { libtorch, tests: true, target });
}

/** Compiles the addon into `folder`/Release, or one `target`. */
export async function compileInto(folder, { libtorch, tests, target }) {
  await cmakeJs("configure", folder, [
    `--CDSTEADYTUNE_LIBTORCH=${libtorch.root}`,
    `--CDSTEADYTUNE_TESTS=${tests ? "ON" : "OFF"}`,
  ]);
  await cmakeJs("build", folder, ["--parallel", String(jobs()), ...(target ? ["--target", target] : [])]);
}

async function cmakeJs(verb, folder, args) {
  const program = join(dirname(require.resolve("cmake-js/package.json")), "bin/cmake-js");
  const common = ["--log-level", "warn", "--config", "Release", "--out", folder];
  const code = await run(process.execPath, [program, verb, ...common, ...args]);
  if (code !== 0) {
    throw new SetupError(
      `\`cmake-js ${verb}\` failed with exit code ${code}; its message stands above.`,
      "Where it speaks of a killed compiler, memory ran out: close other programs and run it again. To begin anew: `rm -r build`.",
    );
  }
}

/** How many compilers may work at once; CMake's variable for it comes first. */
export function jobs() {
  const wanted = Number(process.env.CMAKE_BUILD_PARALLEL_LEVEL);
  if (Number.isInteger(wanted) && wanted > 0) return wanted;
  return Math.max(1, Math.min(availableParallelism(), Math.floor(freemem() / bytesPerJob)));
}

function readRecord() {
  return existsSync(recordPath) ? JSON.parse(readFileSync(recordPath, "utf8")) : null;
}

function packageVersion() {
  return JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version;
}

/** A hash of files and folders below the root, and of steadytune's version, which is compiled in. */
export function hashFiles(paths) {
  const hash = createHash("sha256").update(packageVersion());
  for (const path of paths.flatMap(filesUnder).sort()) {
    hash.update(`\0${path}\0`).update(readFileSync(join(root, path)));
  }
  return hash.digest("hex");
}

function headersOf(folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder)).flatMap((name) => (name.endsWith(".h") ? [`${folder}/${name}`] : []));
}

function filesUnder(path) {
  if (!statSync(join(root, path)).isDirectory()) return [path];
  return readdirSync(join(root, path)).flatMap((name) => filesUnder(join(path, name)));
}
