import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { verify } from "#src/verify/verify.js";
import { expectedGradient, get, goldenModels, openGolden, relativeError } from "../helpers/golden.js";
import { gpuTest } from "../helpers/gpu.js";

const engines = ["fused", "reference"] as const;

for (const engine of engines) {
  gpuTest(`verify passes on the GPU in float32 with the ${engine} engine`, async (t) => {
    const report = await verify(undefined, { device: "cuda", engine });
    t.deepEqual(
      report.checks.filter(({ ok }) => !ok),
      [],
    );
  });
}

for (const name of goldenModels) {
  gpuTest(`${name}: bfloat16 on the GPU agrees with transformers as far as its eight bits go`, async (t) => {
    await using model = await openGolden(name, "bfloat16", 1, "fused", "cuda");
    const { session, batch, expected } = model;
    const error = relativeError((await session.forward(batch)).logits, get(expected, "logits").values);
    t.true(error < 0.05, `${error}`);
    t.true(error > 1e-6, "the blocks did not run in bfloat16");
    await session.gradients(batch);
    for (const parameter of ["blocks.0.ffn.output.weight", "embeddings.word.weight"]) {
      const gradient = await session.readGradient(parameter);
      const gradientError = relativeError(gradient, expectedGradient(model, parameter) ?? gradient.map(() => 0));
      t.true(gradientError < 0.15, `${parameter}: ${gradientError}`);
    }
  });
}

gpuTest("compute-sanitizer finds nothing in training steps of both dtypes", async (t) => {
  t.timeout(600_000);
  const found = spawnSync("compute-sanitizer", ["--version"]);
  if (found.error) {
    t.log("skipped: compute-sanitizer is not on PATH");
    t.pass();
    return;
  }
  const script = fileURLToPath(new URL("../helpers/gpu-steps.js", import.meta.url));
  for (const tool of ["memcheck", "racecheck"]) {
    const { status, stdout, stderr } = spawnSync(
      "compute-sanitizer",
      ["--tool", tool, "--error-exitcode", "9", process.execPath, script],
      { encoding: "utf8", cwd: dirname(script), timeout: 280_000 },
    );
    t.is(status, 0, `${tool}: ${stdout.slice(-3000)} ${stderr.slice(-1000)}`);
    t.regex(stdout, /0 errors|0 hazards/);
  }
});
