// `npm run bench`: what a step takes on this CPU, beside transformers' Trainer and the machine's floor.

import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { root } from "../setup/run.mjs";
import { main } from "../setup/set-up.mjs";
import { SetupError } from "../setup/setup-error.mjs";
import { transformersPython } from "../transformers-python.mjs";
import { compare } from "./compare.mjs";
import { multipliesBfloat16 } from "./device.mjs";
import { printOperators } from "./operators.mjs";
import { bertBaseFolder } from "./workload.mjs";
import { writeResults } from "./results.mjs";

const usage = `usage: npm run bench -- [options]

Times training steps and evaluation batches of steadytune, of transformers' Trainer (same rows, dynamic padding, same
dtype, same threads) and of the machine's floor, by turns in one run. Prints a table and a chart, and writes
<device>.json and <device>.svg. With --operators: where steadytune's own time goes.

  --model DIR      a BERT checkpoint with its tokenizer
                   (default: models/all-minilm-l6 in STEADYTUNE_DATA or ../shared/data)
  --data DIR       the GLUE folder (default: glue in the same place)
  --tasks LIST     token mixes to measure (default: RTE,CoLA; with the shape of BERT-base CoLA alone)
  --shapes LIST    checkpoint: --model; base: random weights in the shape of BERT-base, 110 M parameters
                   (default: checkpoint,base; with --operators checkpoint)
  --dtypes LIST    (default: float32,bfloat16; float32 where libtorch has no fast bfloat16 for this processor, and a
                   step of the Trainer in bfloat16 takes a minute)
  --rounds N       turns of each side (default: 5)
  --steps N        steps and batches per turn (default: 4)
  --threads N      (default: one per physical core)
  --no-trainer     steadytune and the floor alone
  --python PATH    a Python with torch, transformers and accelerate (default: one made in steadytune's cache)
  --output DIR     where the results go (default: docs/benchmarks)
  --operators      time by operator, each beside its floor; no Trainer, nothing is written
  --help

Examples:
  npm run bench                                                   everything, about ten minutes on two cores
  npm run bench -- --tasks RTE --shapes checkpoint --rounds 3
  npm run bench -- --operators --tasks RTE --dtypes bfloat16
`;

await main(async () => {
  const { values: options } = parseArgs({
    options: {
      model: { type: "string" },
      data: { type: "string" },
      tasks: { type: "string" },
      shapes: { type: "string" },
      dtypes: { type: "string" },
      rounds: { type: "string", default: "5" },
      steps: { type: "string", default: "4" },
      threads: { type: "string", default: "0" },
      trainer: { type: "boolean", default: true },
      python: { type: "string" },
      output: { type: "string", default: join(root, "docs/benchmarks") },
      operators: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
    allowNegative: true,
  });
  if (options.help) {
    process.stdout.write(usage);
    return;
  }
  const settings = {
    rounds: wholeNumber(options, "rounds", 1),
    steps: wholeNumber(options, "steps", 1),
    threads: wholeNumber(options, "threads", 0),
  };
  const model = found("model", options.model, "models/all-minilm-l6");
  const data = found("data", options.data, "glue");
  const folder = await mkdtemp(join(tmpdir(), "steadytune-bench-"));
  try {
    const jobs = await jobsOf(options, { model, data, folder });
    if (options.operators) {
      for (const job of jobs) await printOperators({ ...job, ...settings });
      return;
    }
    const python = options.trainer ? (options.python ?? (await transformersPython())) : null;
    const results = [];
    for (const job of jobs) results.push(await compare(job, { ...settings, python, folder }));
    await writeResults(results, { ...settings, output: resolve(options.output) });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** The option's path, or where the tests look for such data as well. */
function found(name, given, inShared) {
  const roots = [process.env.STEADYTUNE_DATA, join(root, "../shared/data")].filter((place) => place);
  const places = given === undefined ? roots.map((place) => resolve(place, inShared)) : [resolve(given)];
  const place = places.find((path) => existsSync(path));
  if (place !== undefined) return place;
  throw new SetupError(
    `The benchmark has no ${name === "model" ? "weights" : "GLUE files"}: there is no ${places.join(" and no ")}.`,
    `Name the folder: npm run bench -- --${name} DIR, or set STEADYTUNE_DATA. Neither may be part of the repository.`,
  );
}

async function jobsOf({ tasks, shapes, dtypes, operators }, { model, data, folder }) {
  const base = { name: "BERT-base (random weights)", init: "random" };
  const formats = listed("dtypes", dtypes ?? usualDtypes(), ["float32", "bfloat16"]);
  const jobs = [];
  for (const shape of listed("shapes", shapes ?? (operators ? "checkpoint" : "checkpoint,base"), [
    "checkpoint",
    "base",
  ])) {
    const weights =
      shape === "base"
        ? { ...base, model: await bertBaseFolder(model, folder) }
        : { name: model.split("/").at(-1), init: "checkpoint", model };
    for (const task of (tasks ?? (shape === "base" ? "CoLA" : "RTE,CoLA")).split(",")) {
      for (const dtype of formats) jobs.push({ ...weights, task, dtype, data });
    }
  }
  return jobs;
}

function usualDtypes() {
  if (multipliesBfloat16()) return "float32,bfloat16";
  console.log("bfloat16 is left out: libtorch has no fast products in it on this processor (--dtypes bfloat16).");
  return "float32";
}

function listed(name, text, known) {
  const list = text.split(",");
  const unknown = list.find((entry) => !known.includes(entry));
  if (unknown === undefined) return list;
  throw new SetupError(`--${name} knows no '${unknown}'.`, `It is a list of ${known.join(" and ")}, with commas.`);
}

function wholeNumber(options, name, least) {
  const value = Number(options[name]);
  if (Number.isInteger(value) && value >= least) return value;
  throw new SetupError(`--${name} is '${options[name]}'.`, `It is a whole number of at least ${least}.`);
}
