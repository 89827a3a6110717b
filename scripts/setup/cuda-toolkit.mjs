import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

import { compiled } from "./libtorch.mjs";
import { outputOf, run } from "./run.mjs";
import { SetupError } from "./setup-error.mjs";
import { note, say, since } from "./terminal.mjs";

/** The wheels that hold nvcc and what it needs to compile and link. They are unpacked, not installed. */
const toolkitWheels = ["nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-cccl", "nvidia-cuda-runtime"];

/** "13.2": the CUDA that a libtorch was built with. Another minor version's libraries are not promised to fit. */
export function cudaOfLibtorch(root) {
  const sources = [
    ["version.py", /^cuda\b.*= *['"](\d+\.\d+)/m],
    // "2.15.0+cu132"
    ["build-version", /\+cu(\d+)(\d)\s*$/],
  ];
  for (const [file, pattern] of sources) {
    if (!existsSync(join(root, file))) continue;
    const match = pattern.exec(readFileSync(join(root, file), "utf8"));
    if (match !== null) return match.slice(1).join(".");
  }
  throw new SetupError(
    `The libtorch in use (${root}) was built without CUDA, or does not say with which.`,
    "Unset LIBTORCH to fetch one with CUDA, or name one: `LIBTORCH=/that/folder npm run build:cuda`.",
  );
}

/**
 * nvcc of a CUDA version: `{nvcc, include, cudart}`. `CUDA_HOME` (set but wrong is an error), else the nvcc on PATH
 * where it is of that version, else the wheels, fetched by pip into the cache.
 */
export async function provideCudaToolkit(version) {
  if (process.env.CUDA_HOME) return fromVariable(process.env.CUDA_HOME, version);
  // It may be a link from a folder of all programs into that of the toolkit.
  const path = outputOf("sh", ["-c", 'readlink -f "$(command -v nvcc)"']);
  if (path) {
    const found = versionOf(path);
    const toolkit = found === version ? inspect(dirname(dirname(path))) : null;
    if (toolkit !== null) return toolkit;
    note(`nvcc on PATH (${path}) is of CUDA ${found ?? "unknown"}, and ${version} is needed`);
  }
  return fetchToolkit(version);
}

function fromVariable(home, version) {
  const toolkit = inspect(home);
  const found = toolkit === null ? null : versionOf(toolkit.nvcc);
  if (found === version) return toolkit;
  throw new SetupError(
    toolkit === null
      ? `CUDA_HOME=${home} holds no CUDA toolkit (bin/nvcc, include/cuda_runtime.h and libcudart.so were looked for).`
      : `CUDA_HOME=${home} is CUDA ${found ?? "of an unknown version"}, and libtorch was built with ${version}.`,
    `Name a toolkit of CUDA ${version}, or unset CUDA_HOME: then pip fetches one.`,
  );
}

/** "13.2" of an nvcc, or null when it does not run. */
function versionOf(nvcc) {
  return /release (\d+\.\d+)/.exec(outputOf(nvcc, ["--version"]) ?? "")?.[1] ?? null;
}

/** What is needed of a toolkit's folder, or null when a part is missing. */
function inspect(home) {
  const nvcc = join(home, "bin/nvcc");
  const include = join(home, "include");
  const cudart = ["lib64", "lib", "targets/x86_64-linux/lib"].flatMap((folder) => cudartIn(join(home, folder)))[0];
  return existsSync(nvcc) && existsSync(join(include, "cuda_runtime.h")) && cudart !== undefined
    ? { nvcc, include, cudart }
    : null;
}

/** Wheels name the library by its major version alone. */
function cudartIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /^libcudart\.so(\.\d+)?$/.test(name))
    .map((name) => join(folder, name));
}

async function fetchToolkit(version) {
  const [major] = version.split(".");
  if (Number(major) < 13) {
    throw new SetupError(
      `libtorch was built with CUDA ${version}, of which pip has no nvcc, and no toolkit of that version was found.`,
      `Install CUDA ${version} and name it: \`CUDA_HOME=/usr/local/cuda-${version} npm run build:cuda\`.`,
    );
  }
  const home = await fetchWheels("nvcc", version, toolkitWheels, `nvidia/cu${major}`, (folder) => {
    const toolkit = inspect(folder);
    return toolkit !== null && versionOf(toolkit.nvcc) === version;
  });
  return inspect(home);
}

/**
 * The path of compute-sanitizer: that of `CUDA_HOME`, else the one on PATH, else fetched by pip into the cache, of the
 * CUDA version that is asked for.
 */
export async function provideSanitizer(version) {
  const name = "bin/compute-sanitizer";
  const installed = process.env.CUDA_HOME ? join(process.env.CUDA_HOME, name) : null;
  if (installed !== null && existsSync(installed)) return installed;
  const onPath = outputOf("sh", ["-c", "command -v compute-sanitizer"]);
  if (onPath !== null) return onPath;
  const inside = `nvidia/cu${version.split(".")[0]}`;
  const home = await fetchWheels("compute-sanitizer", version, ["nvidia-cuda-sanitizer-api"], inside, (folder) =>
    existsSync(join(folder, name)),
  );
  return join(home, name);
}

/** Unpacks wheels of a CUDA version into the cache, unless that was done, and returns the folder `inside` of them. */
async function fetchWheels(what, version, names, inside, isComplete) {
  const { cacheFolder } = await compiled("native/cache-folder.js");
  const { makeFolder } = await compiled("files/atomic.js");
  const { lockFile } = await compiled("files/lock.js");
  const { waitForLock } = await compiled("native/fetch/wait-for-lock.js");
  const parent = join(cacheFolder(), "cuda");
  const folder = join(parent, `${what}-${version}`);
  const home = join(folder, inside);
  // The folder gets its name when it is complete.
  if (existsSync(home)) return home;

  await makeFolder(parent);
  const lock = await waitForLock(
    () => lockFile(join(parent, ".lock"), parent),
    (holder) => note(`waiting: ${holder}`),
  );
  const partial = join(parent, `.${what}-${version}.partial`);
  const other = `or name a toolkit: \`CUDA_HOME=/usr/local/cuda-${version} npm run build:cuda\`.`;
  try {
    if (existsSync(home)) return home;
    const start = performance.now();
    rmSync(partial, { recursive: true, force: true });
    const requirements = names.map((name) => `${name}==${version}.*`);
    note(`python3 -m pip install --no-deps --target ${folder} ${requirements.join(" ")}`);
    const code = await run("python3", [
      ...["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--root-user-action=ignore"],
      ...["--no-deps", "--only-binary=:all:", "--target", partial],
      ...requirements,
    ]).catch((error) => {
      throw new SetupError(`python3 does not run: ${error.message}`, `Install Python with pip, ${other}`);
    });
    if (code !== 0) {
      throw new SetupError(
        `pip could not fetch ${what} of CUDA ${version}; its message stands above.`,
        `Check the network and \`python3 -m pip config list\`, ${other}`,
      );
    }
    if (!isComplete(join(partial, inside))) {
      throw new SetupError(`What pip fetched holds no ${what} of CUDA ${version}.`, `See the wheels' index, ${other}`);
    }
    rmSync(folder, { recursive: true, force: true });
    renameSync(partial, folder);
    say(what, `CUDA ${version} fetched in ${since(start)} to ${home}`);
    return home;
  } finally {
    rmSync(partial, { recursive: true, force: true });
    await lock.release();
  }
}
