// Real tasks with real weights: MiniLM on RTE, MRPC, STS-B and CoLA, several seeds each, scored on the whole dev set at
// the last step. Writes docs/benchmarks/glue-minilm.json and prints the table of docs/benchmarks.md.
//
//   node scripts/bench/glue.mjs --model DIR --data DIR [--seeds 3] [--tasks RTE,MRPC,STS-B,CoLA] [--output runs/glue]
//
// Finished runs are not run again: delete their folders to repeat them.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const { values: options } = parseArgs({
  options: {
    model: { type: "string" },
    data: { type: "string" },
    seeds: { type: "string", default: "3" },
    tasks: { type: "string", default: "RTE,MRPC,STS-B,CoLA" },
    output: { type: "string", default: join(root, "runs/glue") },
  },
});
if (options.model === undefined || options.data === undefined) {
  console.error(
    "usage: node scripts/bench/glue.mjs --model DIR --data DIR [--seeds 3] [--tasks RTE,CoLA] [--output DIR]",
  );
  process.exit(2);
}

const metrics = { RTE: ["accuracy"], MRPC: ["accuracy", "f1"], "STS-B": ["spearman"], CoLA: ["matthews"] };
const recipe = [
  ...["--batch-size", "32", "--epochs", "3", "--dtype", "bfloat16", "--evaluations", "1", "--evaluate-on", "full"],
  ...["--set", "optimizer.learningRate=5e-5", "--set", 'methods=[{"name":"weight-decay","lambda":0.01}]'],
  ...["--keep", "none"],
];

function runTrial(task, seed) {
  const folder = join(options.output, `${task}-${seed}`);
  if (!existsSync(join(folder, "result.json"))) {
    const flags = ["--model", options.model, "--task", task, "--data", options.data, "--output", folder];
    const { status } = spawnSync(
      process.execPath,
      [join(root, "dist/cli.js"), "finetune", ...flags, "--seed", String(seed), ...recipe, "--quiet"],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    if (status !== 0) process.exit(status ?? 1);
  }
  return JSON.parse(readFileSync(join(folder, "result.json"), "utf8"));
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const std = (values) => Math.sqrt(values.reduce((sum, v) => sum + (v - mean(values)) ** 2, 0) / (values.length - 1));

const rows = [];
for (const task of options.tasks.split(",")) {
  const results = [];
  for (let seed = 0; seed < Number(options.seeds); seed++) {
    console.error(`${task}, seed ${seed}`);
    results.push(runTrial(task, seed));
  }
  for (const metric of metrics[task] ?? ["accuracy"]) {
    rows.push({
      task,
      metric,
      scores: results.map((result) => result.last.test[metric]),
      trainSeconds: results.map((result) => result.seconds.train),
      totalSeconds: results.map((result) => result.seconds.total),
      peakMemoryBytes: Math.max(...results.map((result) => result.peakMemoryBytes)),
      steps: results[0].steps,
      versions: results[0].versions,
    });
  }
}

mkdirSync(join(root, "docs/benchmarks"), { recursive: true });
writeFileSync(
  join(root, "docs/benchmarks/glue-minilm.json"),
  `${JSON.stringify({ processor: cpus()[0]?.model, cores: cpus().length, recipe: recipe.join(" "), rows }, null, 2)}\n`,
);
console.log("| task | metric | mean ± std | each seed | steps | training, s | in all, s | peak memory |");
console.log("| --- | --- | --- | --- | --- | --- | --- | --- |");
for (const row of rows) {
  const scores = row.scores.map((score) => score.toFixed(3));
  const cells = [
    row.task,
    row.metric,
    `${mean(row.scores).toFixed(3)} ± ${std(row.scores).toFixed(3)}`,
    scores.join(", "),
    row.steps,
    mean(row.trainSeconds).toFixed(0),
    mean(row.totalSeconds).toFixed(0),
    `${(row.peakMemoryBytes / 2 ** 20).toFixed(0)} MiB`,
  ];
  console.log(`| ${cells.join(" | ")} |`);
}
