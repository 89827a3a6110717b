import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import type { ResolvedConfig } from "#src/config/schema.js";
import type { RunResult } from "#src/training/result.js";
import { withoutTimes } from "../helpers/run-log.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { tinyConfig } from "../helpers/tiny-run.js";

const program = fileURLToPath(new URL("../helpers/killable-run.js", import.meta.url));

/** Runs the config in a process of its own and kills it as soon as `killAt` steps are done. */
function runInChild(config: ResolvedConfig, killAt: number): Promise<"ended" | "killed"> {
  const child = spawn(process.execPath, [program, JSON.stringify(config)], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  child.stdout.on("data", (data: Buffer) => {
    const step = Number(data.toString().trimEnd().split("\n").at(-1));
    if (step >= killAt) child.kill("SIGKILL");
  });
  return new Promise((resolve, reject) => {
    child.on("close", (code, signal) => {
      if (signal === "SIGKILL") resolve("killed");
      else if (code === 0) resolve("ended");
      else reject(new Error(`the run ended with code ${code}: ${errors}`));
    });
  });
}

function outcome(folder: string) {
  const read = (name: string) => readFileSync(join(folder, name));
  const { best, last, tokens } = JSON.parse(read("result.json").toString()) as RunResult;
  return {
    buffers: JSON.parse(read("buffers.json").toString()) as Record<string, string>,
    weights: createHash("sha256").update(read("best/model.safetensors")).digest("hex"),
    predictions: createHash("sha256").update(read("predictions.jsonl")).digest("hex"),
    log: withoutTimes(folder),
    best,
    last,
    tokens,
  };
}

for (const dtype of ["float32", "bfloat16"] as const) {
  test(`${dtype}: a run that is killed again and again ends with the bits of the unbroken run`, async (t) => {
    const folder = temporaryFolder(t);
    const steps = 150;
    const changes = {
      dtype,
      steps,
      diagnosticsEvery: 7,
      optimizer: { learningRate: 3e-3 },
      methods: [
        { name: "pretrained-weight-decay" as const, lambda: 0.01 },
        { name: "mixout" as const, p: 0.3, keepDropout: true },
      ],
    };
    const unbroken = tinyConfig(folder, { ...changes, output: join(folder, "unbroken") });
    t.is(await runInChild(unbroken, Infinity), "ended");

    // States fall due all the time, so that some kills hit one that is being written.
    const broken = tinyConfig(folder, { ...changes, output: join(folder, "broken"), stateEvery: 0.001, resume: true });
    const kills = Array.from({ length: 5 }, () => 1 + Math.floor(Math.random() * (steps - 1))).sort((a, b) => a - b);
    t.log(`killed at steps ${kills.join(", ")}`);
    const ends = [];
    for (const step of kills) ends.push(await runInChild(broken, step));
    t.true(ends.includes("killed"));
    t.is(await runInChild(broken, Infinity), "ended");

    const { log, ...rest } = outcome(broken.output);
    const { log: expectedLog, ...expected } = outcome(unbroken.output);
    t.deepEqual(rest, expected);
    t.is(log.length, expectedLog.length);
    log.forEach((event, line) => t.deepEqual(event, expectedLog[line], `line ${line + 1}`));
  });
}
