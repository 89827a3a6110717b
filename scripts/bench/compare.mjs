// Time of a training step beside transformers' Trainer: same weights, same batches, same recipe, same threads, runs of
// the two by turns. Prints a table, writes docs/benchmarks/step-time.json, and exits with 1 when a step is slower.
//
//   node scripts/bench/compare.mjs --model DIR --data DIR [--tasks RTE,CoLA] [--rounds 3] [--threads N] [--python PATH]

import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { root } from "../setup/run.mjs";
import { main } from "../setup/set-up.mjs";
import { SetupError } from "../setup/setup-error.mjs";
import { transformersPython } from "../transformers-python.mjs";

/** The first steps of both warm caches and memory pools up. */
const warmUpSteps = 3;
const timedSteps = 10;
const batchSize = 32;
const maxLength = 128;
const seed = 0;

await main(async () => {
  const { values: options } = parseArgs({
    options: {
      model: { type: "string" },
      data: { type: "string" },
      tasks: { type: "string", default: "RTE,CoLA" },
      rounds: { type: "string", default: "3" },
      threads: { type: "string", default: "0" },
      python: { type: "string" },
    },
  });
  if (options.model === undefined || options.data === undefined) {
    throw new SetupError(
      "compare.mjs needs the weights and the GLUE files.",
      "node scripts/bench/compare.mjs --model DIR --data DIR",
    );
  }
  const python = options.python ?? (await transformersPython());
  const folder = await mkdtemp(join(tmpdir(), "steadytune-compare-"));
  try {
    const results = [];
    for (const task of options.tasks.split(",")) {
      const rows = join(folder, `${task}.jsonl`);
      const outputs = await writeRows(rows, task, options.data);
      for (const dtype of ["float32", "bfloat16"]) {
        const job = { task, dtype, rows, outputs, python, model: resolve(options.model), data: resolve(options.data) };
        results.push(await compare(job, Number(options.rounds), Number(options.threads)));
      }
    }
    await report(results);
    if (results.some(({ timesAsFast }) => timesAsFast < 1)) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** Writes the training rows in the order in which steadytune takes them; resolves to the classifier's outputs. */
async function writeRows(path, task, data) {
  const { loadTask } = await import("../../dist/data/load-task.js");
  const { permutation } = await import("../../dist/random/permutation.js");
  const { task: info, train } = await loadTask({ task, data, protocol: "paper", seed });
  const order = permutation(train.length, { seed, epoch: 0 }).slice(0, (warmUpSteps + timedSteps) * batchSize);
  const lines = Array.from(order, (index) => {
    const { text, pair, label } = train[index];
    return JSON.stringify({ text, pair, label });
  });
  await writeFile(path, lines.join("\n"));
  return info.problem === "regression" ? 1 : info.labels.length;
}

async function compare(job, rounds, threads) {
  const runs = { steadytune: [], trainer: [] };
  for (let round = 1; round <= rounds; round++) {
    console.error(`${job.task}, ${job.dtype}, round ${round} of ${rounds}`);
    runs.steadytune.push(await runSteadytune(job, threads));
    runs.trainer.push(await runTrainer(job, runs.steadytune[0].threads));
  }
  const [ours, theirs] = [summary(runs.steadytune), summary(runs.trainer)];
  return {
    task: job.task,
    dtype: job.dtype,
    threads: runs.steadytune[0].threads,
    steadytune: ours,
    trainer: theirs,
    timesAsFast: theirs.stepMs / ours.stepMs,
  };
}

function runSteadytune({ task, dtype, model, data }, threads) {
  const config = {
    ...{ model, task, data, dtype, seed, threads, batchSize, maxLength, device: "cpu" },
    steps: warmUpSteps + timedSteps,
    optimizer: { learningRate: 5e-5 },
    methods: [{ name: "weight-decay", lambda: 0.01 }],
  };
  return runForJson(process.execPath, [join(root, "scripts/bench/steadytune.mjs"), JSON.stringify(config)]);
}

function runTrainer({ dtype, model, rows, outputs, python }, threads) {
  const flags = { model, rows, outputs, dtype, threads, steps: warmUpSteps + timedSteps };
  return runForJson(python, [
    join(root, "scripts/bench/trainer.py"),
    ...Object.entries({ ...flags, "batch-size": batchSize, "max-length": maxLength }).flatMap(([name, value]) => [
      `--${name}`,
      String(value),
    ]),
  ]);
}

function runForJson(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve(JSON.parse(output));
      else
        reject(new SetupError(`\`${command} ${args[0]}\` ended with code ${code}.`, "Its own message stands above."));
    });
  });
}

/** Of each run the mean over the timed steps, which differ in length; of the runs the median. */
function summary(runs) {
  const means = runs.map(({ stepMs }) => stepMs.slice(warmUpSteps).reduce((a, b) => a + b) / timedSteps);
  return {
    stepMs: means.toSorted((a, b) => a - b)[Math.floor(means.length / 2)],
    rounds: means,
    losses: runs[0].losses,
    peakMemoryBytes: Math.max(...runs.map(({ peakMemoryBytes }) => peakMemoryBytes)),
    versions: runs[0].versions,
  };
}

async function report(results) {
  const folder = join(root, "docs/benchmarks");
  await mkdir(folder, { recursive: true });
  const machine = { processor: cpus()[0]?.model, cores: cpus().length };
  const settings = { batchSize, maxLength, warmUpSteps, timedSteps };
  await writeFile(join(folder, "step-time.json"), `${JSON.stringify({ machine, settings, results }, null, 2)}\n`);

  console.log(
    "| task | dtype | threads | Trainer, ms per step | steadytune, ms per step | times as fast | peak memory |",
  );
  console.log("| --- | --- | --- | --- | --- | --- | --- |");
  const mebibytes = ({ peakMemoryBytes }) => (peakMemoryBytes / 2 ** 20).toFixed(0);
  for (const { task, dtype, threads, trainer, steadytune, timesAsFast } of results) {
    const cells = [
      task,
      dtype,
      threads,
      trainer.stepMs.toFixed(0),
      steadytune.stepMs.toFixed(0),
      timesAsFast.toFixed(2),
      `${mebibytes(steadytune)} MiB (Trainer ${mebibytes(trainer)})`,
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
}
