// `npm test`: set-up, then all tests; the last line is "N passed, N failed". With the names of folders of test/, as in
// `npm run test:gpu`, those alone.
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { stdout } from "node:process";
import { stripVTControlCharacters } from "node:util";

import { compiled } from "./setup/libtorch.mjs";
import { root, run } from "./setup/run.mjs";
import { main, setUp } from "./setup/set-up.mjs";
import { SetupError } from "./setup/setup-error.mjs";

/** Tests of these folders run several files at a time; all others use the addon with all threads, one by one. */
const concurrent = ["unit", "cli"];

await main(async () => {
  await setUp({ tests: true });
  const named = process.argv.slice(2);
  const { hasNvidiaGpu } = await compiled("native/platform.js");
  const onGpu = hasNvidiaGpu() && (named.length === 0 || named.includes("gpu"));
  if (onGpu && (await run(process.execPath, ["scripts/build-cuda.mjs"])) !== 0) {
    throw new SetupError(
      "The CUDA kernels are not built; see above.",
      "Tests that need no GPU: `npm test -- unit cli native`.",
    );
  }
  const folders = readdirSync(join(root, "dist-test"))
    .filter(hasTests)
    .filter((name) => named.length === 0 || named.includes(name));
  const results = [
    await ava(
      folders.filter((name) => concurrent.includes(name)),
      [],
    ),
    await ava(
      folders.filter((name) => !concurrent.includes(name)),
      ["--concurrency", "1"],
    ),
    ...(named.length === 0 || named.includes("core") ? [await ctest()] : []),
    ...(onGpu ? [await cudaKernels()] : []),
  ];
  const passed = results.reduce((sum, result) => sum + result.passed, 0);
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  console.log(`${passed} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
});

function hasTests(folder) {
  const path = join(root, "dist-test", folder);
  return existsSync(join(root, "test", folder)) && readdirSync(path).some((name) => name.endsWith(".test.js"));
}

async function ava(folders, args) {
  if (folders.length === 0) return { passed: 0, failed: 0 };
  const files = folders.map((name) => `dist-test/${name}/**/*.test.js`);
  const { code, text } = await tee(process.execPath, ["node_modules/ava/entrypoints/cli.mjs", ...args, ...files]);
  const failures =
    /^\s*(\d+) (?:tests? failed|hooks? failed|uncaught exceptions?|unhandled rejections?|tests? remained pending)/gm;
  const failed = [...text.matchAll(failures)].reduce((sum, match) => sum + Number(match[1]), 0);
  // ava's own summary leaves out what passed when something failed.
  const passed = text.match(/^\s*[✔√] /gm)?.length ?? 0;
  // A file that cannot be imported, or holds no test, fails the run without a count.
  return { passed, failed: code === 0 ? failed : Math.max(1, failed) };
}

async function ctest() {
  const folder = join(root, "build");
  if (!existsSync(join(folder, "CTestTestfile.cmake"))) return { passed: 0, failed: 0 };
  const { code, text } = await tee("ctest", ["--output-on-failure"], { cwd: folder });
  const match = /(\d+) tests? failed out of (\d+)/.exec(text);
  const failed = Number(match?.[1] ?? 0);
  return { passed: Number(match?.[2] ?? 0) - failed, failed: code === 0 ? failed : Math.max(1, failed) };
}

/** The CUDA kernels beside the CPU's, under compute-sanitizer too. */
async function cudaKernels() {
  let failed = 0;
  for (const args of [[], ["--sanitize"]]) {
    const code = await run(process.execPath, ["scripts/test-cuda-kernels.mjs", ...args]);
    if (code !== 0) failed += 1;
  }
  return { passed: 2 - failed, failed };
}

/** Runs a program, shows its output as it comes, and keeps it. */
function tee(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const env = stdout.isTTY && !process.env.NO_COLOR ? { ...process.env, FORCE_COLOR: "1" } : process.env;
    const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "pipe", "inherit"], ...options });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
      stdout.write(chunk);
    });
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, text: stripVTControlCharacters(text) }));
  });
}
