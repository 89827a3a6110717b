import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const script = fileURLToPath(new URL("../../scripts/bench/gpu.mjs", import.meta.url));

/** A peer that knows no torch: it has been compiled for CoLA's lengths alone. */
const peer = `#!${process.execPath}
const { createInterface } = require("node:readline");
createInterface({ input: process.stdin }).on("line", (line) => {
  const { do: what, compile, lengths } = JSON.parse(line);
  const train = () => (compile && lengths[0].length * 20 < lengths[0].reduce((a, b) => a + b) ? { error: "boom" } : { ms: 50 });
  const floor = { matrixTflops: 2, copyGbPerSecond: 20, versions: { torch: "none" } };
  console.log(JSON.stringify(what === "floor" ? floor : what === "train" ? train() : {}));
});
`;

interface BenchRecord {
  results: { task: string; eager: { ms: number } | null; compiled: { ms: number } | null; timesEager: object | null }[];
  failures: { task: string; form: string; error: string }[];
  adamw: { shareOfCopyRate: number } | null;
}

function bench(t: ExecutionContext, program: string, tasks: string) {
  const folder = temporaryFolder(t);
  const python = join(folder, "python");
  writeFileSync(python, program, { mode: 0o755 });
  const output = join(folder, "bench.json");
  const args = ["--device", "cpu", "--models", "tiny", "--tasks", tasks, "--steps", "2", "--rounds", "2"];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [script, ...args, "--python", python, "--output", output],
    { encoding: "utf8" },
  );
  const record = existsSync(output) ? (JSON.parse(readFileSync(output, "utf8")) as BenchRecord) : null;
  return { status, stdout, stderr, record, chart: output.replace(".json", ".svg") };
}

test("the benchmark of a GPU goes through on the CPU, and what fails on the other side takes nothing else with it", (t) => {
  const { status, stdout, stderr, record, chart } = bench(t, peer, "CoLA,RTE");
  t.is(status, 0, stderr);
  t.is(record?.results.length, 2);
  t.like(record?.results[0], { task: "CoLA", eager: { ms: 50 }, compiled: { ms: 50 } });
  t.like(record?.results[1], { task: "RTE", eager: { ms: 50 }, compiled: null });
  t.like(record?.failures, { length: 1, 0: { task: "RTE", form: "compiled", error: "boom" } });
  t.true((record?.adamw?.shareOfCopyRate ?? 0) > 0);
  t.regex(stdout, /\| tiny \| RTE \|/);
  t.regex(readFileSync(chart, "utf8"), /eager/);
});

test("the benchmark keeps what was measured before the other side died", (t) => {
  const dying = peer.replace('{ error: "boom" }', "process.exit(1)");
  const { status, stderr, record } = bench(t, dying, "CoLA,RTE");
  t.is(status, 1);
  t.regex(stderr, /transformers' side of the benchmark ended early/);
  t.like(record, { results: { length: 1, 0: { task: "CoLA" } }, adamw: null });
});
