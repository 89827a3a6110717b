// `npm run bench:gpu`: time of a training step on the GPU beside transformers, eager and compiled, both in bfloat16:
// same shapes of random weights, same lengths of rows, runs of all by turns in one process each. Prints a table and
// writes docs/benchmarks/<device>.json and a chart beside it; the file is there after the first task, and grows. Without
// a GPU it says so and exits with 0.
//
//   node scripts/bench/gpu.mjs [--models base,large] [--tasks RTE,MRPC,STS-B,CoLA] [--rounds 3] [--steps 24]
//                              [--python PATH] [--no-compile] [--output FILE]
//   node scripts/bench/gpu.mjs --device cpu --models tiny --output FILE      tries the benchmark itself, on the CPU

import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { root } from "../setup/run.mjs";
import { main } from "../setup/set-up.mjs";
import { SetupError } from "../setup/setup-error.mjs";
import { transformersPython } from "../transformers-python.mjs";
import { speedChart } from "./chart.mjs";
import { trainingFlop } from "./floor.mjs";
import { batchSize, encoderShapes, stepLengths, taskLengths } from "./gpu-work.mjs";

const { cudaProblem, loadAddon } = await import("../../dist/native/load.js");
const { createSession } = await import("../../dist/native/session.js");
const { composePlan } = await import("../../dist/methods/plan.js");

/** About as many words as the training set of such a task mentions. */
const wordsOfTask = 10_000;

const optimizer = {
  learningRate: 2e-5,
  betas: [0.9, 0.999],
  eps: 1e-8,
  biasCorrection: true,
  maxGradNorm: 1,
  orderSeed: 0,
  dropout: true,
};

await main(async () => {
  const { values: options } = parseArgs({
    options: {
      models: { type: "string", default: "base,large" },
      tasks: { type: "string", default: Object.keys(taskLengths).join(",") },
      rounds: { type: "string", default: "3" },
      steps: { type: "string", default: "24" },
      python: { type: "string" },
      "no-compile": { type: "boolean", default: false },
      device: { type: "string", default: "cuda" },
      output: { type: "string" },
    },
  });
  const { device } = options;
  const problem = cudaProblem();
  if (device === "cuda" && problem !== null) {
    console.log(`no benchmark: ${problem.message}`);
    return;
  }
  const models = options.models.split(",");
  const tasks = options.tasks.split(",");
  checkNames("model", models, encoderShapes);
  checkNames("task", tasks, taskLengths);
  const [rounds, steps] = [Number(options.rounds), Number(options.steps)];

  const python = options.python ?? process.env.STEADYTUNE_PYTHON ?? (await transformersPython());
  const peer = startPeer(python, device);
  try {
    const record = await emptyRecord(peer, { device, rounds, steps });
    const path = resolve(root, options.output ?? join("docs/benchmarks", `${fileNameOf(record.device)}.json`));
    for (const model of models) {
      const ours = openModel(encoderShapes[model], device);
      // A form of the peer that fails once is left out from there on.
      const forms = options["no-compile"] ? ["eager"] : ["eager", "compiled"];
      for (const task of tasks) {
        const lengths = stepLengths(task, steps);
        await ours.begin();
        const times = { steadytune: [], eager: [], compiled: [] };
        for (let round = 1; round <= rounds; round++) {
          console.error(`${model}, ${task}, round ${round} of ${rounds}`);
          times.steadytune.push(await ours.time(lengths));
          for (const form of [...forms]) {
            const { ms, error } = await peer.ask({ do: "train", model, lengths, compile: form === "compiled" });
            if (error === undefined) {
              times[form].push(ms);
            } else {
              record.failures.push({ model, task, form, error });
              console.error(`transformers, ${form}: ${error}`);
              times[form] = [];
              forms.splice(forms.indexOf(form), 1);
            }
          }
        }
        record.results.push(summarize({ model, task, lengths, times, floor: record.floor, ours }));
        await save(path, record);
      }
      await ours.session.dispose();
      await peer.ask({ do: "forget" });
    }
    // Last, since its large table would count in the models' peak memory.
    const adamw = await measureAdamw(device);
    record.adamw = { ...adamw, shareOfCopyRate: adamw.gbPerSecond / record.floor.copyGbPerSecond };
    await save(path, record);
    print(record);
    console.log(path);
    const chart = path.replace(/(\.json)?$/, ".svg");
    await writeFile(chart, `${chartOf(record.device, record.results)}\n`);
    console.log(chart);
  } finally {
    peer.stop();
  }
});

function checkNames(what, names, known) {
  const wrong = names.find((name) => !(name in known));
  if (wrong !== undefined)
    throw new SetupError(`There is no ${what} ${wrong}.`, `Known are ${Object.keys(known).join(", ")}.`);
}

/** A session in bfloat16 that trains random weights. */
function openModel(shape, device) {
  const session = createSession(shape, { device, dtype: "bfloat16", threads: 1 });
  let step = 0;
  // The same batches in every pass, as the other side has: words that it meets for the first time cost a step more.
  const train = (lengths, place) => session.train([batchOf(shape, lengths, place)], { ...optimizer, step: ++step });
  return {
    session,
    /** As a trial of a study begins: the words that another task has touched count no more. */
    async begin() {
      step = 0;
      await session.setPlan(planOf(session), { initSeed: 0, keepStart: false });
    },
    /** Milliseconds a step over all of `lengths`; the first two passes meet every shape and record its step. */
    async time(lengths) {
      for (let pass = 0; pass < 2; pass++) await runAhead(lengths, train);
      const start = performance.now();
      await runAhead(lengths, train);
      return (performance.now() - start) / lengths.length;
    },
  };
}

/** Fresh weights, all trained alike but for what `exception` says of one of them. */
function planOf(session, exception = () => ({})) {
  const plain = composePlan(session.parameters, []);
  return session.parameters.map(({ name, role, kind }, i) => ({
    ...plain[i],
    reset: kind === "bias" ? "zeros" : role === "layerNorm" ? "ones" : { normal: 0.02, stream: "classifierInit" },
    ...exception(name),
  }));
}

/** As the training loop does: some steps are in the queue before the oldest is awaited. */
async function runAhead(lengths, train) {
  const inFlight = [];
  const settle = async () => {
    const { finite } = await inFlight.shift();
    if (!finite) throw new Error("a step of the benchmark diverged");
  };
  for (const [place, rows] of lengths.entries()) {
    inFlight.push(train(rows, place));
    if (inFlight.length > 2) await settle();
  }
  while (inFlight.length > 0) await settle();
}

function batchOf(shape, lengths, seed) {
  const offsets = [0];
  for (const length of lengths) offsets.push(offsets.at(-1) + length);
  const tokens = offsets.at(-1);
  return {
    tokenIds: Int32Array.from({ length: tokens }, (_, i) => (i * 7919 + seed * 104729) % wordsOfTask),
    segmentIds: new Int32Array(tokens),
    rowOffsets: Int32Array.from(offsets),
    rowNumbers: Int32Array.from(lengths, (_, row) => row + seed * batchSize),
    labels: Int32Array.from(lengths, (_, row) => row % shape.outputs),
  };
}

/**
 * Bytes a second of the gradient norm and AdamW. Alone they cannot be timed from here, so this is a difference: a word
 * table that decays is gone over whole, a frozen one not at all. Either is one segment, and its gradient is cleared.
 */
async function measureAdamw(device) {
  const shape = { ...encoderShapes.base, layers: 1, vocabularySize: device === "cuda" ? 300_000 : wordsOfTask };
  const table = shape.vocabularySize * shape.embeddingSize;
  const ms = [];
  for (const frozen of [true, false]) {
    const session = createSession(shape, { device, dtype: "bfloat16", threads: 1 });
    const plan = planOf(session, (name) => (name === "embeddings.word.weight" ? { frozen, weightDecay: 0.01 } : {}));
    await session.setPlan(plan, { initSeed: 0, keepStart: false });
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
  const flop = lengths.reduce((sum, rows) => sum + trainingFlop(encoderShapes[model], rows), 0) / lengths.length;
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
    timesEager: eager && timesAsFast(times.eager, times.steadytune),
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
    // A form of the peer that failed somewhere has none.
    panels: [
      ["eager", ({ timesEager }) => timesEager],
      ["torch.compile", ({ timesCompiled }) => timesCompiled],
    ].flatMap(([title, ratioOf]) => (results.every(ratioOf) ? [panel(title, ratioOf)] : [])),
  });
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The other side: a Python process that answers each line of JSON with one. */
function startPeer(python, device) {
  const script = fileURLToPath(new URL("./gpu.py", import.meta.url));
  const child = spawn(python, [script, device], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let problem = "See its message above.";
  child.once("error", (error) => (problem = `${python} does not run: ${error.message}`));
  // Without a listener a write to a process that has ended would end this one; the answer that does not come tells.
  child.stdin.on("error", () => {});
  return {
    async ask(question) {
      child.stdin.write(`${JSON.stringify(question)}\n`);
      const { value, done } = await lines.next();
      if (done) throw new SetupError("transformers' side of the benchmark ended early.", problem);
      return JSON.parse(value);
    },
    stop: () => child.stdin.end(),
  };
}

async function emptyRecord(peer, { device, rounds, steps }) {
  const { gpus, builtForTorch } = loadAddon().info();
  const { versions, error, ...floor } = await peer.ask({ do: "floor" });
  if (error !== undefined)
    throw new SetupError(`The floor could not be measured: ${error}.`, "It takes 5 GB of the GPU.");
  const date = new Date().toISOString().slice(0, 10);
  return {
    ...{
      device: device === "cuda" ? gpus[0] : { name: "CPU" },
      torch: builtForTorch,
      peer: versions,
      date,
      batchSize,
      rounds,
      steps,
      floor,
    },
    ...{ results: [], failures: [], adamw: null },
  };
}

function fileNameOf(gpu) {
  return gpu.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
}

async function save(path, record) {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(record, null, 2)}\n`);
}

function print({ device, floor, adamw, results }) {
  const ms = (side) => side?.ms.toFixed(2) ?? "-";
  const times = (ratio) => ratio?.median.toFixed(2) ?? "-";
  const columns = {
    model: ({ model }) => model,
    task: ({ task }) => task,
    tokens: ({ tokensPerStep }) => String(tokensPerStep),
    ms: ({ steadytune }) => ms(steadytune),
    "eager ms": ({ eager }) => ms(eager),
    "compiled ms": ({ compiled }) => ms(compiled),
    "x eager": ({ timesEager }) => times(timesEager),
    "x compiled": ({ timesCompiled }) => times(timesCompiled),
    "TFLOP/s": ({ tflops }) => tflops.toFixed(0),
    "of rate": ({ shareOfMatrixRate }) => `${(100 * shareOfMatrixRate).toFixed(0)} %`,
    "GPU MiB": ({ gpuMiB }) => gpuMiB.toFixed(0),
  };
  console.log(
    `${device.name}: matrix rate ${floor.matrixTflops.toFixed(0)} TFLOP/s, copy rate ${floor.copyGbPerSecond.toFixed(0)} GB/s`,
  );
  console.log(
    `AdamW and norm: ${adamw.gbPerSecond.toFixed(0)} GB/s, ${(100 * adamw.shareOfCopyRate).toFixed(0)} % of the copy rate`,
  );
  const rows = results.map((result) => Object.values(columns).map((cell) => cell(result)));
  const names = Object.keys(columns);
  for (const line of [names, names.map(() => "---"), ...rows]) console.log(`| ${line.join(" | ")} |`);
}
