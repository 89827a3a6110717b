import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { requireLibtorch } from "#src/native/libtorch.js";
import { verify } from "#src/verify/verify.js";
import { gpuTest } from "../helpers/gpu-test.js";

for (const engine of ["fused", "reference"] as const) {
  for (const dtype of ["float32", "bfloat16"] as const) {
    gpuTest(`verify passes on the GPU in ${dtype} with the ${engine} engine`, async (t) => {
      const report = await verify(undefined, { device: "cuda", engine, dtype });
      t.deepEqual(
        report.checks.filter(({ ok }) => !ok),
        [],
      );
    });
  }
}

/** A program of its own, which takes the device. */
const trainingSteps = fileURLToPath(new URL("../helpers/gpu-steps.js", import.meta.url));

test("what compute-sanitizer watches runs by itself, here on the CPU", (t) => {
  const { status, stderr } = spawnSync(process.execPath, [trainingSteps, "cpu"], { encoding: "utf8" });
  t.is(status, 0, stderr);
});

gpuTest("compute-sanitizer finds nothing in training steps of both dtypes", async (t) => {
  t.timeout(600_000);
  const sanitizer = await findSanitizer().catch((error: Error) => error);
  if (sanitizer instanceof Error) {
    t.log(`skipped: there is no compute-sanitizer, and none can be fetched: ${sanitizer.message}`);
    t.pass();
    return;
  }
  for (const tool of ["memcheck", "racecheck"]) {
    // Our kernels alone: NVIDIA's take minutes under racecheck. Start-up tries calls that a driver may not have.
    const ours = ["--kernel-name", "kernel_substring=steadytune"];
    const more = tool === "memcheck" ? ["--report-api-errors", "no"] : [];
    const { status, stdout, stderr } = spawnSync(
      sanitizer,
      ["--tool", tool, ...ours, ...more, "--error-exitcode", "9", process.execPath, trainingSteps, "cuda"],
      { encoding: "utf8", cwd: dirname(trainingSteps), timeout: 280_000 },
    );
    t.is(status, 0, `${tool}: ${stdout.slice(-3000)} ${stderr.slice(-1000)}`);
    t.regex(stdout, /\b0 (errors|hazards)/);
  }
});

interface CudaToolkit {
  cudaOfLibtorch: (root: string) => string;
  provideSanitizer: (cuda: string) => Promise<string>;
}

async function findSanitizer(): Promise<string> {
  const { cudaOfLibtorch, provideSanitizer } = (await import(
    new URL("../../scripts/setup/cuda-toolkit.mjs", import.meta.url).href
  )) as CudaToolkit;
  return provideSanitizer(cudaOfLibtorch(requireLibtorch().root));
}
