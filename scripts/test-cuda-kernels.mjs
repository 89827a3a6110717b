// Compares the CUDA kernels with the CPU's on a GPU; `npm test` does the same in an emulator.
//   node scripts/test-cuda-kernels.mjs              once
//   node scripts/test-cuda-kernels.mjs --sanitize   under compute-sanitizer's four tools: memory, races, barriers,
//                                                   memory that is read before it is written (minutes)
// Needs `npm run compile` and `npm run build:cuda` before it. Without a GPU it says so and does nothing.
import { existsSync } from "node:fs";
import { join } from "node:path";

import { cudaOfLibtorch, provideSanitizer } from "./setup/cuda-toolkit.mjs";
import { compiled, provideLibtorch } from "./setup/libtorch.mjs";
import { root, run } from "./setup/run.mjs";
import { main } from "./setup/set-up.mjs";
import { SetupError } from "./setup/setup-error.mjs";
import { say } from "./setup/terminal.mjs";

const tools = ["memcheck", "racecheck", "synccheck", "initcheck"];

await main(async () => {
  const { hasNvidiaGpu } = await compiled("native/platform.js");
  if (!hasNvidiaGpu()) {
    say("skipped", "this machine has no NVIDIA GPU; `npm test` runs the CUDA kernels in an emulator");
    return;
  }
  const { libtorch } = await provideLibtorch();
  const program = join(root, "build/test/cuda/cuda_kernels_test");
  const libraries = [join(libtorch.root, "lib/libtorch_cuda.so"), join(root, "build/cuda/libsteadytune_cuda.so")];
  const missing = [program, ...libraries].find((path) => !existsSync(path));
  if (missing !== undefined) {
    throw new SetupError(`${missing} is missing.`, "Run `npm run compile` and `npm run build:cuda` first.");
  }
  if (!process.argv.includes("--sanitize")) {
    process.exitCode = await run(program, libraries);
    return;
  }
  const sanitizer = await provideSanitizer(cudaOfLibtorch(libtorch.root));
  for (const tool of tools) {
    // libtorch's caching allocator would hide where a tensor ends.
    const env = { ...process.env, PYTORCH_NO_CUDA_MEMORY_CACHING: "1" };
    // What attention leaves for rows without tokens is copied to the host, and not looked at there.
    const more = tool === "initcheck" ? ["--check-api-memory-access", "no"] : [];
    const args = ["--tool", tool, ...more, "--error-exitcode", "1", program, ...libraries];
    const code = await run(sanitizer, args, { env });
    say(tool, code === 0 ? "clean" : `failed with exit code ${code}`);
    if (code !== 0) process.exitCode = 1;
  }
});
