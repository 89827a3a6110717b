// `node scripts/gpu-check.mjs`: on a machine with a GPU, builds everything, tests it there and times it. What fails does
// not keep the rest from running; the last lines say what passed, and the exit code is 1 when anything failed. Without a
// GPU it says so and exits with 0. docs/benchmarks/METHOD.md tells how to run it on a machine that has neither Node nor a
// network, and in calls of limited length.
//
//   node scripts/gpu-check.mjs [--out FOLDER] [--only addon,kernels,...] [--limit SECONDS]
//
// --out    for the log and the benchmark (default: build/gpu-check)
// --only   these steps: addon, kernels, inspect, cpu, kernel-test, kernels-on-gpu, training, verify, bench-base,
//          bench-large, sanitize (default: all, in this order)
// --limit  seconds that a step may take before it is ended (default: 1800)
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { buildAddon, buildTest } from "./setup/addon.mjs";
import { compiled, provideLibtorch } from "./setup/libtorch.mjs";
import { outputOf, root } from "./setup/run.mjs";
import { main } from "./setup/set-up.mjs";
import { SetupError } from "./setup/setup-error.mjs";

const { values: options } = parseArgs({
  options: {
    out: { type: "string", default: "build/gpu-check" },
    only: { type: "string" },
    limit: { type: "string", default: "1800" },
    // One of `builds`, in a process of its own, whose output the log can take.
    build: { type: "string" },
  },
});
const out = resolve(root, options.out);

/** Apart, so that a test which does not compile takes nothing from the addon. */
const builds = {
  addon: (libtorch) => buildAddon({ libtorch, tests: false, prebuilt: false }),
  "kernel-test": (libtorch) => buildTest("cuda_kernels_test", { libtorch }),
};

const node = (...args) => [process.execPath, ...args];
const build = (what) => node("scripts/gpu-check.mjs", "--build", what);
const ava = (file, ...more) =>
  node("node_modules/ava/entrypoints/cli.mjs", "--timeout=20m", "--concurrency", "1", "--verbose", file, ...more);
const bench = (model) => node("scripts/bench/gpu.mjs", "--models", model, "--output", join(out, `bench-${model}.json`));

/** What needs what comes after it; what takes longest and tells least comes last. */
const steps = {
  addon: build("addon"),
  kernels: node("scripts/build-cuda.mjs"),
  inspect: node("dist/cli.js", "inspect"),
  cpu: ava("dist-test/native/session-numbers.test.js"),
  "kernel-test": build("kernel-test"),
  "kernels-on-gpu": node("scripts/test-cuda-kernels.mjs"),
  training: ava("dist-test/gpu/training.test.js"),
  verify: ava("dist-test/gpu/families.test.js", "--match", "verify*"),
  "bench-base": bench("base"),
  "bench-large": bench("large"),
  sanitize: ava("dist-test/gpu/families.test.js", "--match", "compute-sanitizer*"),
};

await main(async () => {
  if (options.build !== undefined) {
    const { libtorch } = await provideLibtorch();
    await builds[options.build](libtorch);
    return;
  }
  const names = options.only?.split(",") ?? Object.keys(steps);
  const unknown = names.find((name) => !(name in steps));
  if (unknown !== undefined) {
    throw new SetupError(`--only knows no step '${unknown}'.`, `Steps are ${Object.keys(steps).join(", ")}.`);
  }
  const { hasNvidiaGpu } = await compiled("native/platform.js");
  if (!hasNvidiaGpu()) {
    console.log("no GPU check: this machine shows no NVIDIA GPU to this process");
    return;
  }
  mkdirSync(out, { recursive: true });
  const log = createWriteStream(join(out, "gpu-check.log"), { flags: "a" });
  const say = (line) => {
    console.log(line);
    log.write(`${line}\n`);
  };
  say(outputOf("nvidia-smi", ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]));
  const { libtorch } = await provideLibtorch();
  say(`libtorch ${libtorch.version} (${libtorch.source}, ${libtorch.root})`);

  const outcomes = [];
  for (const name of names) {
    say(`\n== ${name}`);
    const start = performance.now();
    const ended = await logged(steps[name], log, 1000 * Number(options.limit));
    outcomes.push({ name, ended, seconds: (performance.now() - start) / 1000 });
    // Nothing that follows runs without it.
    if (name === "addon" && ended !== "ok") break;
  }
  say("");
  for (const { name, ended, seconds } of outcomes) say(`${ended.padEnd(6)}  ${name}  ${seconds.toFixed(0)} s`);
  log.end();
  if (outcomes.some(({ ended }) => ended !== "ok")) process.exitCode = 1;
});

/** Runs a program with its output here and in the log: "ok" where it exits with 0, else how it ended. */
function logged([command, ...args], log, limitMs) {
  return new Promise((settle) => {
    // A group of its own, so that compilers and tests end with it.
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], detached: true });
    const timer = setTimeout(() => process.kill(-child.pid, "SIGKILL"), limitMs);
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      from.pipe(to, { end: false });
      from.pipe(log, { end: false });
    }
    child.once("error", (error) => {
      log.write(`${error.message}\n`);
      settle("FAILED");
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      settle(code === 0 ? "ok" : signal === "SIGKILL" ? "KILLED" : "FAILED");
    });
  });
}
