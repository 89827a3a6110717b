// `npm run build:cuda`: compiles binding/kernels/cuda into build/cuda/libsteadytune_cuda.so, which `--device cuda` opens.
// No GPU is needed, nor a CUDA toolkit: nvcc comes from pip (scripts/setup/cuda-toolkit.mjs).
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { hashFiles, jobs, operatorSources } from "./setup/addon.mjs";
import { cudaOfLibtorch, provideCudaToolkit } from "./setup/cuda-toolkit.mjs";
import { compiled, provideLibtorch } from "./setup/libtorch.mjs";
import { installPackages } from "./setup/packages.mjs";
import { root, run } from "./setup/run.mjs";
import { main } from "./setup/set-up.mjs";
import { SetupError } from "./setup/setup-error.mjs";
import { note, say, since } from "./setup/terminal.mjs";
import { checkCompiler } from "./setup/tools.mjs";
import { compileTypeScript } from "./setup/typescript.mjs";

const sources = join(root, "binding/kernels/cuda");
const folder = join(root, "build/cuda");
const library = join(folder, "libsteadytune_cuda.so");
const recordPath = join(folder, "steadytune-cuda.json");

/** Machine code for A100 and H100; newer GPUs translate the intermediate code when they first load it. */
const architectures = [
  ["-gencode", "arch=compute_80,code=sm_80"],
  ["-gencode", "arch=compute_90,code=[sm_90,compute_90]"],
].flat();
const language = ["-std=c++20", "-O3"];
const hostOptions = ["-fPIC", "-fvisibility=hidden"];

await main(async () => {
  const start = performance.now();
  if (existsSync(join(root, "src"))) {
    await installPackages();
    await compileTypeScript({ tests: false });
  }
  const { libtorch } = await provideLibtorch();
  const cuda = cudaOfLibtorch(libtorch.root);
  const wanted = {
    ...record(libtorch, cuda),
    sources: hashFiles(["scripts/build-cuda.mjs", "binding/kernels/cuda", ...operatorSources]),
    operators: hashFiles(operatorSources),
  };
  if (stands(wanted)) return;

  const { lockFile } = await compiled("files/lock.js");
  const { waitForLock } = await compiled("native/fetch/wait-for-lock.js");
  mkdirSync(folder, { recursive: true });
  const lock = await waitForLock(
    () => lockFile(join(folder, ".lock"), folder),
    (holder) => note(`waiting: ${holder}`),
  );
  try {
    if (stands(wanted)) return;
    checkCompiler(process.env);
    const toolkit = await provideCudaToolkit(cuda);
    note(`compiling the CUDA kernels for libtorch ${libtorch.version} and CUDA ${cuda} (${toolkit.nvcc})`);
    rmSync(recordPath, { force: true });
    const objects = await compileAll(toolkit, libtorch);
    await link(objects, toolkit, libtorch);
    writeFileSync(recordPath, `${JSON.stringify(wanted, null, 2)}\n`);
    say("CUDA kernels", `compiled in ${since(start)}: ${library}`);
  } finally {
    await lock.release();
  }
});

function record(libtorch, cuda) {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  return { version, torch: libtorch.version, cuda };
}

function stands(wanted) {
  if (!existsSync(library) || !existsSync(recordPath)) return false;
  return readFileSync(recordPath, "utf8") === `${JSON.stringify(wanted, null, 2)}\n`;
}

/** Objects of all sources: *.cu by nvcc, *.cpp, which know libtorch and no kernel's syntax, by the C++ compiler. */
async function compileAll(toolkit, libtorch) {
  const objects = join(folder, "objects");
  rmSync(objects, { recursive: true, force: true });
  mkdirSync(objects, { recursive: true });
  const include = join(libtorch.root, "include");
  const includes = ["-I", join(root, "binding"), "-isystem", include];
  const names = readdirSync(sources).filter((name) => /\.(cu|cpp)$/.test(name));
  const waiting = names.toSorted();
  const compileOne = async (name) => {
    const source = join(sources, name);
    const object = join(objects, `${name}.o`);
    if (name.endsWith(".cu")) {
      const compiler = process.env.CXX ? ["-ccbin", process.env.CXX] : [];
      const host = hostOptions.flatMap((option) => ["-Xcompiler", option]);
      // Lines for compute-sanitizer and profilers; they cost nothing at run time.
      await need(toolkit.nvcc, [
        ...["-c", source, "-o", object, "-lineinfo"],
        ...[...compiler, ...language, ...architectures, ...host, ...includes],
      ]);
    } else {
      const more = [join(include, "torch/csrc/api/include"), toolkit.include].flatMap((path) => ["-isystem", path]);
      await need(cxx(), [
        ...["-c", source, "-o", object, "-D_GLIBCXX_USE_CXX11_ABI=1", "-Wall", "-Wextra"],
        ...[...language, ...hostOptions, ...includes, ...more],
      ]);
    }
    return object;
  };
  const made = [];
  const worker = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) made.push(await compileOne(name));
  };
  await Promise.all(Array.from({ length: jobs() }, worker));
  // In an order that does not depend on which was compiled first.
  return made.toSorted();
}

function cxx() {
  return process.env.CXX ?? "c++";
}

async function need(command, args) {
  const code = await run(command, args).catch((error) => {
    throw new SetupError(
      `${command} does not run: ${error.message}`,
      "Install a C++ compiler: `npm run setup` says how.",
    );
  });
  if (code === 0) return;
  throw new SetupError(
    `\`${command} ${args.join(" ")}\` failed with exit code ${code}; its message stands above.`,
    "Where it speaks of an unsupported compiler, name another one: `CXX=g++-12 npm run build:cuda`.",
  );
}

/**
 * Links against libtorch by path. A libtorch that was fetched for a machine without a GPU lacks its CUDA half: then
 * empty libraries of the same names stand in for it, so that the loader will ask for the real ones, and symbols of
 * libtorch's CUDA namespaces, but no others, may stay open.
 */
async function link(objects, toolkit, libtorch) {
  const real = ["libc10_cuda.so", "libtorch_cuda.so"].map((name) => join(libtorch.root, "lib", name));
  const complete = real.every((path) => existsSync(path));
  const cudaHalf = complete ? real : await Promise.all(real.map(standIn));
  const partial = join(folder, ".libsteadytune_cuda.so.partial");
  const args = [
    ...["-shared", "-o", partial, ...objects],
    ...["libc10.so", "libtorch_cpu.so"].map((name) => join(libtorch.root, "lib", name)),
    ...["-Wl,--no-as-needed", ...cudaHalf, "-Wl,--as-needed", toolkit.cudart],
    ...["-Wl,-z,defs", "-Wl,-z,nodelete", "-Wl,--gc-sections"],
    ...(complete ? [] : ["-Wl,--warn-unresolved-symbols"]),
  ];
  if (complete) {
    await need(cxx(), args);
  } else {
    const { status, stderr, error } = spawnSync(cxx(), args, { encoding: "utf8", maxBuffer: 1 << 28 });
    const open = [...(stderr ?? "").matchAll(/undefined reference to [`'](.*)'/g)].map(([, symbol]) => symbol);
    const wrong = open.find((symbol) => !/\b(?:c10|at)::cuda::/.test(symbol));
    if (error || status !== 0 || wrong !== undefined) {
      process.stderr.write(stderr ?? "");
      throw new SetupError(
        wrong === undefined
          ? "The CUDA kernels do not link; see above."
          : `The CUDA kernels need ${wrong}, which no library has.`,
        "This is a mistake of steadytune: please report it with the message above.",
      );
    }
  }
  renameSync(partial, library);
}

async function standIn(path) {
  const name = path.slice(dirname(path).length + 1);
  const target = join(folder, "objects", name);
  await need(cxx(), ["-shared", "-x", "c++", "/dev/null", "-o", target, `-Wl,-soname,${name}`]);
  return target;
}
