// `npm run bench:gpu`: time of a training step on the GPU beside transformers, eager and compiled, both in bfloat16:
// same shapes of random weights, same lengths of rows, runs of all by turns in one process each. Prints a table and
// writes docs/benchmarks/<device>.json and a chart beside it. Without a GPU it says so and exits with 0.
//
//   node scripts/bench/gpu.mjs [--models base,large] [--tasks RTE,MRPC,STS-B,CoLA] [--rounds 3] [--steps 24]
//                              [--python PATH] [--no-compile] [--output FILE]

import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { root } from "../setup/run.mjs";
import { main } from "../setup/set-up.mjs";
import { SetupError } from "../setup/setup-error.mjs";
import { transformersPython } from "../transformers-python.mjs";
import { speedChart } from "./chart.mjs";
import { batchSize, encoderShapes, neededFlop, stepLengths, taskLengths } from "./gpu-work.mjs";

const { cudaProblem, loadAddon } = await import("../../dist/native/load.js");
const { createSession } = await import("../../dist/native/session.js");

await main(async () => {
  const { values: options } = parseArgs({
    options: {
      models: { type: "string", default: "base,large" },
      tasks: { type: "string", default: Object.keys(taskLengths).join(",") },
      rounds: { type: "string", default: "3" },
      steps: { type: "string", default: "24" },
      python: { type: "string" },
      "no-compile": { type: "boolean", default: false },
      output: { type: "string" },
    },
  });
  const problem = cudaProblem();
  if (problem !== null) {
    console.log(`no benchmark: ${problem.message}`);
    return;
  }
  const models = options.models.split(",");
  const tasks = options.tasks.split(",");
  checkNames("model", models, encoderShapes);
  checkNames("task", tasks, taskLengths);
  const [rounds, steps] = [Number(options.rounds), Number(options.steps)];

  const peer = startPeer(options.python ?? process.env.STEADYTUNE_PYTHON ?? (await transformersPython()));
  try {
    const floor = await peer.ask({ do: "floor" });
    const results = [];
    for (const model of models) {
      const ours = await openModel(encoderShapes[model]);
      for (const task of tasks) {
        const lengths = stepLengths(task, steps);
        const times = { steadytune: [], eager: [], compiled: [] };
        for (let round = 1; round <= rounds; round++) {
          console.error(`${model}, ${task}, round ${round} of ${rounds}`);
          times.steadytune.push(await ours.time(lengths));
          times.eager.push((await peer.ask({ do: "train", model, lengths, compile: false })).ms);
          if (!options["no-compile"]) {
            times.compiled.push((await peer.ask({ do: "train", model, lengths, compile: true })).ms);
          }
        }
        results.push(summarize({ model, task, lengths, times, floor, ours }));
      }
      await ours.session.dispose();
      await peer.ask({ do: "forget" });
    }
    // Last, since its large table would count in the models' peak memory.
    const adamw = await measureAdamw();
    await report({ floor, adamw, results, rounds, steps }, options.output);
  } finally {
    peer.stop();
  }
});

function checkNames(what, names, known) {
  const wrong = names.find((name) => !(name in known));
  if (wrong !== undefined)
    throw new SetupError(`There is no ${what} ${wrong}.`, `Known are ${Object.keys(known).join(", ")}.`);
}

/** A session in bfloat16 with random weights, ready to train. */
async function openModel(shape) {
  const session = createSession(shape, { device: "cuda", dtype: "bfloat16", threads: 1 });
  await session.setPlan(
    session.parameters.map(({ role, kind }) => ({
      ...plain,
      reset: kind === "bias" ? "zeros" : role === "layerNorm" ? "ones" : { normal: 0.02, stream: "classifierInit" },
    })),
    { initSeed: 0, keepStart: false },
  );
  let step = 0;
  const train = (lengths) => {
    step += 1;
    return session.train([batchOf(shape, lengths, step)], { ...optimizer, step });
  };
  return {
    session,
    /** Milliseconds a step over all of `lengths`; the first two passes meet every shape and record its step. */
    async time(lengths) {
      for (let pass = 0; pass < 2; pass++) await runAhead(lengths, train);
      const start = performance.now();
      await runAhead(lengths, train);
      return (performance.now() - start) / lengths.length;
    },
  };
}

const plain = {
  frozen: false,
  lrScale: 1,
  weightDecay: 0,
  decayTowards: "zero",
  decayScaledByLr: true,
  reset: "none",
  mixout: null,
};

const optimizer = {
  learningRate: 2e-5,
  betas: [0.9, 0.999],
  eps: 1e-8,
  biasCorrection: true,
  maxGradNorm: 1,
  orderSeed: 0,
  dropout: true,
};

/** As the training loop does: some steps are in the queue before the oldest is awaited. */
async function runAhead(lengths, train) {
  const inFlight = [];
  for (const rows of lengths) {
    inFlight.push(train(rows));
    if (inFlight.length > 2) await inFlight.shift();
  }
  for (const { finite } of await Promise.all(inFlight)) {
    if (!finite) throw new Error("a step of the benchmark diverged");
  }
}

function batchOf(shape, lengths, seed) {
  const offsets = [0];
  for (const length of lengths) offsets.push(offsets.at(-1) + length);
  const tokens = offsets.at(-1);
  return {
    tokenIds: Int32Array.from({ length: tokens }, (_, i) => (i * 7919 + seed * 104729) % shape.vocabularySize),
    segmentIds: new Int32Array(tokens),
    rowOffsets: Int32Array.from(offsets),
    rowNumbers: Int32Array.from(lengths, (_, row) => row + seed * batchSize),
    labels: Int32Array.from(lengths, (_, row) => row % shape.outputs),
  };
}

/**
 * Bytes a second of the gradient norm and AdamW. Alone they cannot be timed from here, so this is a difference: with
 * decay on the word embeddings the step goes over the whole table, without it over the few words of the batch, and all
 * else stays the same.
 */
async function measureAdamw() {
  const shape = { ...encoderShapes.base, layers: 1, vocabularySize: 300_000 };
  const table = shape.vocabularySize * shape.embeddingSize;
  const ms = [];
  for (const weightDecay of [0, 0.01]) {
    const session = createSession(shape, { device: "cuda", dtype: "bfloat16", threads: 1 });
    await session.setPlan(
      session.parameters.map(({ name, role, kind }) => ({
        ...plain,
        weightDecay: name === "embeddings.word.weight" ? weightDecay : 0,
        reset: kind === "bias" ? "zeros" : role === "layerNorm" ? "ones" : { normal: 0.02, stream: "classifierInit" },
      })),
      { initSeed: 0, keepStart: false },
    );
    let step = 0;
    const train = (lengths) => session.train([batchOf(shape, lengths, 1)], { ...optimizer, step: ++step });
    const lengths = Array.from({ length: 30 }, () => [8, 8]);
    const times = [];
    for (let round = 0; round < 5; round++) {
      const start = performance.now();
      await runAhead(lengths, train);
      times.push((performance.now() - start) / lengths.length);
    }
    ms.push(median(times.slice(1)));
    await session.dispose();
  }
  // Gradient read by the norm; value, gradient and both moments read, three of them written, and the bfloat16 copy.
  const bytesPerParameter = 4 + 4 * 4 + 3 * 4 + 2;
  return { parameters: table, ms: ms[1] - ms[0], gbPerSecond: (table * bytesPerParameter) / (ms[1] - ms[0]) / 1e6 };
}

function summarize({ model, task, lengths, times, floor, ours }) {
  const tokens = lengths.flat().reduce((sum, length) => sum + length, 0) / lengths.length;
  const flop = lengths.reduce((sum, rows) => sum + neededFlop(encoderShapes[model], rows), 0) / lengths.length;
  const of = (list) =>
    list.length === 0 ? null : { ms: median(list), min: Math.min(...list), max: Math.max(...list) };
  const steadytune = of(times.steadytune);
  const [eager, compiled] = [of(times.eager), of(times.compiled)];
  const tflops = flop / steadytune.ms / 1e9;
  return {
    model,
    task,
    tokensPerStep: Math.round(tokens),
    steadytune,
    eager,
    compiled,
    timesEager: timesAsFast(times.eager, times.steadytune),
    timesCompiled: compiled && timesAsFast(times.compiled, times.steadytune),
    tflops,
    shareOfMatrixRate: tflops / floor.matrixTflops,
    gpuMiB: ours.session.peakDeviceMemoryBytes() / 2 ** 20,
    recordedSteps: ours.session.recordedSteps(),
  };
}

/** Within a round both sides had the same noise of the machine. */
function timesAsFast(peer, ours) {
  const ratios = peer.map((ms, round) => ms / ours[round]);
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
}

/** Steadytune beside both forms of transformers, and what the measured matrix rate alone would allow. */
function chartOf(gpu, results) {
  const panel = (title, ratioOf) => ({
    title,
    groups: results.map((result) => {
      const ratio = ratioOf(result);
      return { timesAsFast: ratio, attainable: ratio.median / result.shareOfMatrixRate };
    }),
  });
  return speedChart({
    title: "Training steps: times as fast as transformers in BF16",
    subtitle: `${gpu.name}; batches of ${batchSize} rows, by turns`,
    peer: "transformers",
    labels: results.map(({ model, task }) => `BERT-${model}\n${task}`),
    panels: [
      panel("eager", ({ timesEager }) => timesEager),
      ...(results.every(({ timesCompiled }) => timesCompiled)
        ? [panel("torch.compile", ({ timesCompiled }) => timesCompiled)]
        : []),
    ],
  });
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The other side: a Python process that answers each line of JSON with one. */
function startPeer(python) {
  const script = fileURLToPath(new URL("./gpu.py", import.meta.url));
  const child = spawn(python, [script], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(question) {
      child.stdin.write(`${JSON.stringify(question)}\n`);
      const { value, done } = await lines.next();
      if (done) throw new SetupError("transformers' side of the benchmark ended early.", "See its message above.");
      return JSON.parse(value);
    },
    stop: () => child.stdin.end(),
  };
}

async function report({ floor, adamw, results, rounds, steps }, output) {
  const { gpus, builtForTorch } = loadAddon().info();
  const [gpu] = gpus;
  const record = {
    device: gpu,
    torch: builtForTorch,
    peer: floor.versions,
    date: new Date().toISOString().slice(0, 10),
    batchSize,
    rounds,
    steps,
    floor: { matrixTflops: floor.matrixTflops, copyGbPerSecond: floor.copyGbPerSecond },
    adamw: { ...adamw, shareOfCopyRate: adamw.gbPerSecond / floor.copyGbPerSecond },
    results,
  };
  const name = gpu.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  const path = output ?? join(root, "docs/benchmarks", `${name}.json`);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, `${JSON.stringify(record, null, 2)}\n`);
  const chart = path.replace(/(\.json)?$/, ".svg");
  await writeFile(chart, `${chartOf(gpu, results)}\n`);

  const header = [
    "model",
    "task",
    "tokens",
    "ms",
    "eager ms",
    "compiled ms",
    "x eager",
    "x compiled",
    "TFLOP/s",
    "of rate",
    "GPU MiB",
  ];
  const rows = results.map((result) => [
    result.model,
    result.task,
    String(result.tokensPerStep),
    result.steadytune.ms.toFixed(2),
    result.eager.ms.toFixed(2),
    result.compiled?.ms.toFixed(2) ?? "-",
    result.timesEager.median.toFixed(2),
    result.timesCompiled?.median.toFixed(2) ?? "-",
    result.tflops.toFixed(0),
    `${(100 * result.shareOfMatrixRate).toFixed(0)} %`,
    result.gpuMiB.toFixed(0),
  ]);
  console.log(
    `${gpu.name}: matrix rate ${floor.matrixTflops.toFixed(0)} TFLOP/s, copy rate ${floor.copyGbPerSecond.toFixed(0)} GB/s`,
  );
  console.log(
    `AdamW and norm: ${adamw.gbPerSecond.toFixed(0)} GB/s, ${(100 * record.adamw.shareOfCopyRate).toFixed(0)} % of the copy rate`,
  );
  for (const line of [header, header.map(() => "---"), ...rows]) console.log(`| ${line.join(" | ")} |`);
  console.log(`${path}, ${chart}`);
}
