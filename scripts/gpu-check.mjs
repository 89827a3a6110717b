// `node scripts/gpu-check.mjs`: on a machine with a GPU, builds everything, tests it there and times it, in one call.
// What fails does not keep the rest from running; the last lines say what passed, and the exit code is 1 when anything
// failed. Without a GPU it says so and exits with 0. docs/benchmarks/METHOD.md tells how to run it on a machine that has
// neither Node nor a network.
//
//   node scripts/gpu-check.mjs [--out FOLDER] [--skip-bench]
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { buildAddon } from "./setup/addon.mjs";
import { compiled, provideLibtorch } from "./setup/libtorch.mjs";
import { outputOf, root } from "./setup/run.mjs";
import { main } from "./setup/set-up.mjs";

const { values: options } = parseArgs({
  options: { out: { type: "string", default: "build/gpu-check" }, "skip-bench": { type: "boolean", default: false } },
});
const out = join(root, options.out);

await main(async () => {
  const { hasNvidiaGpu } = await compiled("native/platform.js");
  if (!hasNvidiaGpu()) {
    console.log("no GPU check: this machine shows no NVIDIA GPU to this process");
    return;
  }
  mkdirSync(out, { recursive: true });
  console.log(outputOf("nvidia-smi", ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]));
  const { libtorch } = await provideLibtorch();
  console.log(`libtorch ${libtorch.version} (${libtorch.source}, ${libtorch.root})`);

  const node = (...args) => [process.execPath, ...args];
  const ava = (...files) =>
    node("node_modules/ava/entrypoints/cli.mjs", "--timeout=10m", "--concurrency", "1", ...files);
  const steps = [
    ["addon", () => buildAddon({ libtorch, tests: true, prebuilt: false })],
    ["kernels", node("scripts/build-cuda.mjs")],
    ["inspect", node("dist/cli.js", "inspect")],
    ["cpu", ava("dist-test/native/session-numbers.test.js")],
    ["kernels-on-gpu", node("scripts/test-cuda-kernels.mjs")],
    ["gpu", ava("dist-test/gpu/*.test.js")],
    ...(options["skip-bench"] ? [] : [["bench", node("scripts/bench/gpu.mjs", "--output", join(out, "bench.json"))]]),
  ];
  const outcomes = [];
  for (const [name, work] of steps) {
    console.log(`\n== ${name}`);
    const start = performance.now();
    const ok = await (typeof work === "function" ? work().then(() => true) : logged(name, work)).catch((error) => {
      console.error(error);
      return false;
    });
    outcomes.push({ name, ok, seconds: (performance.now() - start) / 1000 });
  }
  console.log("");
  for (const { name, ok, seconds } of outcomes)
    console.log(`${ok ? "ok    " : "FAILED"}  ${name}  ${seconds.toFixed(0)} s`);
  if (outcomes.some(({ ok }) => !ok)) process.exitCode = 1;
});

/** Runs a program with its output here and in a file of `out`; true where it exits with 0. */
function logged(name, [command, ...args]) {
  return new Promise((resolve, reject) => {
    const file = createWriteStream(join(out, `${name}.log`));
    // The torch of python3 is the one that the benchmark's other side imports.
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      from.pipe(to, { end: false });
      from.pipe(file, { end: false });
    }
    child.once("error", reject);
    child.once("close", (code) => {
      file.end();
      resolve(code === 0);
    });
  });
}
