import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
const record = join(root, "build/Release/steadytune.json");
/** A compiler at work on libtorch's headers takes about this much memory. */
const bytesPerJob = 1.5e9;

/**
 * Compiles the addon for a libtorch, unless one stands that was made of the same sources for the same libtorch: a
 * prebuilt one (where `prebuilt` allows it) or an earlier build. With `tests` the C++ tests are compiled too. Returns
 * true where it compiled.
 */
export async function buildAddon({ libtorch, tests, prebuilt }) {
  const { listAddons } = await compiled("native/load.js");
  const { torchMinor } = await compiled("native/libtorch.js");
  const sources = hashSources();
  const minor = torchMinor(libtorch.version);
  const fits = ({ path, record }) =>
    (prebuilt || path === addon) && torchMinor(record.torch) === minor && record.sources === sources;
  const testsStand = !tests || readRecord()?.tests === sources;
  if (testsStand && listAddons(root).some(fits)) return false;

  checkTools();
  const start = performance.now();
  note(`compiling the addon for libtorch ${libtorch.version} (${libtorch.root})`);
  // An addon of another libtorch must not pass for the new one while it is being replaced.
  if (torchMinor(readRecord()?.torch ?? "") !== minor) rmSync(record, { force: true });
  await cmakeJs("configure", [
    `--CDSTEADYTUNE_LIBTORCH=${libtorch.root}`,
    `--CDSTEADYTUNE_TESTS=${tests ? "ON" : "OFF"}`,
  ]);
  await cmakeJs("build", ["--parallel", String(jobs())]);
  const built = { version: packageVersion(), torch: libtorch.version, sources, ...(tests ? { tests: sources } : {}) };
  writeFileSync(record, `${JSON.stringify(built, null, 2)}\n`);
  // A prebuilt addon comes first when loading, and this one is outdated now.
  rmSync(join(root, "prebuilds", `torch-${minor}`), { recursive: true, force: true });
  say("addon", `compiled in ${since(start)}`);
  return true;
}

async function cmakeJs(verb, args) {
  const program = join(dirname(require.resolve("cmake-js/package.json")), "bin/cmake-js");
  const code = await run(process.execPath, [program, verb, "--log-level", "warn", "--config", "Release", ...args]);
  if (code !== 0) {
    throw new SetupError(
      `\`cmake-js ${verb}\` failed with exit code ${code}; its message stands above.`,
      "Where it speaks of a killed compiler, memory ran out: close other programs and run it again. To begin anew: `rm -r build`.",
    );
  }
}

function jobs() {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(freemem() / bytesPerJob)));
}

function readRecord() {
  return existsSync(record) ? JSON.parse(readFileSync(record, "utf8")) : null;
}

function packageVersion() {
  return JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version;
}

/** A hash of all that the addon is made of, but for libtorch. */
export function hashSources() {
  const hash = createHash("sha256");
  const files = ["binding", "test/core"]
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  hash.update(packageVersion());
  for (const path of [join(root, "CMakeLists.txt"), ...files].sort()) {
    hash
      .update(`${path.slice(root.length)}\0`)
      .update(readFileSync(path))
      .update("\0");
  }
  return hash.digest("hex");
}
