// `node scripts/sanitize.mjs`: the C++ tests under sanitizers. AddressSanitizer and UndefinedBehaviorSanitizer watch the
// kernels and the core, once with each instruction set of this machine; ThreadSanitizer watches what the session's
// threads share, over a stub engine, since it does not understand the locks of libtorch's and libgomp's own threads.
import { join } from "node:path";

import { jobs } from "./setup/addon.mjs";
import { provideLibtorch } from "./setup/libtorch.mjs";
import { installPackages } from "./setup/packages.mjs";
import { root, run } from "./setup/run.mjs";
import { main } from "./setup/set-up.mjs";
import { SetupError } from "./setup/setup-error.mjs";
import { note, say, since } from "./setup/terminal.mjs";
import { checkTools } from "./setup/tools.mjs";
import { compileTypeScript } from "./setup/typescript.mjs";

/** Of each sanitizer: what is compiled, and which of the tests run. */
const builds = [
  { sanitizers: "thread", folder: "build-sanitize-threads", targets: ["threads_test"], tests: "^threads$" },
  {
    sanitizers: "address,undefined",
    folder: "build-sanitize",
    targets: ["core_test", "threads_test"],
    tests: "^(core_.*|threads)$",
  },
];

const environment = {
  ...process.env,
  // What libtorch keeps until the process ends is no leak of ours; test/native/leaks.test.ts watches for those.
  ASAN_OPTIONS: "detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1",
  UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
  TSAN_OPTIONS: "halt_on_error=1",
  // Two, so that parallel code is parallel on every machine; they sleep while they wait, since others work here too.
  OMP_NUM_THREADS: "2",
  OMP_WAIT_POLICY: "passive",
};

await main(async () => {
  await installPackages();
  await compileTypeScript({ tests: false });
  checkTools();
  const { libtorch } = await provideLibtorch();
  for (const build of builds) await check(build, libtorch.root);
});

async function check({ sanitizers, folder, targets, tests }, libtorch) {
  const start = performance.now();
  const path = join(root, folder);
  note(`compiling ${targets.join(" and ")} with -fsanitize=${sanitizers}`);
  await step("cmake", [
    ...["-S", root, "-B", path],
    `-DSTEADYTUNE_LIBTORCH=${libtorch}`,
    "-DSTEADYTUNE_TESTS=ON",
    `-DSTEADYTUNE_SANITIZE=${sanitizers}`,
    "-DCMAKE_BUILD_TYPE=Debug",
    "-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1",
    // Most of the time goes into libtorch's headers, so core and kernels are each compiled as one file.
    "-DCMAKE_UNITY_BUILD=ON",
    "-DCMAKE_UNITY_BUILD_BATCH_SIZE=0",
    "--log-level=WARNING",
  ]);
  await step("cmake", ["--build", path, "--parallel", String(jobs()), "--target", ...targets]);
  await step("ctest", ["--test-dir", path, "--output-on-failure", "--tests-regex", tests]);
  say("sanitizers", `${sanitizers} found nothing, ${since(start)}`);
}

async function step(command, args) {
  const code = await run(command, args, { env: environment });
  if (code === 0) return;
  throw new SetupError(
    `\`${command} ${args.join(" ")}\` failed with exit code ${code}; its message stands above.`,
    "A finding names file and line. To begin anew: `rm -r build-sanitize*`.",
  );
}
