import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { finetune } from "#src/training/finetune.js";
import { loadModel } from "#src/training/model.js";
import type { ClassPrediction } from "#src/training/predictions.js";
import { steadytune } from "../helpers/cli.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyConfig } from "../helpers/tiny-run.js";

type Line = ClassPrediction & { row: number };

const folder = mkdtempSync(join(tmpdir(), "steadytune-predict-"));
let model = "";

// One model for all tests of this file, trained well enough to tell the queues apart.
test.before(async () => {
  const config = tinyConfig(folder, { steps: 120, optimizer: { learningRate: 3e-3 } });
  await finetune(config).result;
  model = join(config.output, "best");
});

test.after.always(() => rmSync(folder, { recursive: true, force: true }));

const predict = (args: string[], options: Parameters<typeof steadytune>[1] = {}) =>
  steadytune(["predict", "--model", model, "--threads", "1", ...args], options);

const parse = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

test("a line per row of a table, in order, equal to what code gets", async (t) => {
  const { code, stdout, stderr } = await predict([ticketsFile, "--text", "body"]);
  t.is(code, 0, stderr);
  const lines = parse(stdout);
  t.deepEqual(
    lines.map(({ row }) => row),
    Array.from({ length: 160 }, (_, i) => i),
  );
  for (const { label, probabilities } of lines) {
    const values = Object.values(probabilities);
    t.true(Math.abs(values.reduce((a, b) => a + b, 0) - 1) < 1e-6);
    t.is(probabilities[label] ?? 0, Math.max(...values));
  }
  t.true(new Set(lines.map(({ label }) => label)).size > 1);
  await using loaded = await loadModel(model, { threads: 1 });
  const first = readFileSync(ticketsFile, "utf8").split("\n")[1] ?? "";
  const [answer] = await loaded.predict([first.slice(0, first.lastIndexOf(","))]);
  t.is((answer as ClassPrediction).label, lines[0]?.label ?? "");
});

test("JSONL and CSV on standard input are told apart", async (t) => {
  const [json, csv] = await Promise.all([
    predict([], { input: '{"text": "where is my parcel"}\n{"text": "i cannot log in"}\n' }),
    predict([], { input: "text\nwhere is my parcel\ni cannot log in\n" }),
  ]);
  t.is(json.code, 0, json.stderr);
  t.is(parse(json.stdout).length, 2);
  t.is(csv.stdout, json.stdout);
  t.notRegex(json.stderr, /tmp/);
});

test("CSV comes out with a header, quoted where it must be", async (t) => {
  const folder = temporaryFolder(t);
  const output = join(folder, "labels.csv");
  const { code, stdout } = await predict([ticketsFile, "--text", "body", "--output", output]);
  t.is(code, 0);
  t.is(stdout, "");
  const [header, ...rows] = readFileSync(output, "utf8").trimEnd().split("\n");
  t.regex(header ?? "", /^row,label,probability of billing,/);
  t.is(rows.length, 160);
  for (const row of rows) t.is(row.split(",").length, (header ?? "").split(",").length);
});

test("a pair of columns is read as a pair", async (t) => {
  const file = join(temporaryFolder(t), "pairs.jsonl");
  writeFileSync(file, '{"a": "where is my parcel", "b": "i cannot log in"}\n');
  const one = await predict([file, "--text", "a"]);
  const two = await predict([file, "--text", "a", "--pair", "b"]);
  t.is(two.code, 0, two.stderr);
  t.not(one.stdout, two.stdout);
});

test("input that is not what it should be is refused by name and line", async (t) => {
  const broken = await predict([], { input: '{"text": "a"}\n{"text": \n' });
  t.is(broken.code, 1);
  t.regex(broken.stderr, /^error: standard input, line 2/m);
  const column = await predict([ticketsFile, "--text", "bodi"]);
  t.is(column.code, 2);
  t.regex(column.stderr, /^error: .*bodi/m);
  t.is((await predict(["/nowhere.csv"])).code, 1);
});

test("the folder of a run is told from its checkpoint", async (t) => {
  const run = join(folder, "run");
  const { code, stderr } = await steadytune(["predict", "--model", run, ticketsFile]);
  t.is(code, 1);
  t.is(stderr, `error: ${run} is the folder of a run, not of a model.\nhint: Name its checkpoint: ${model}\n`);
});

test("a checkpoint that was never fine-tuned cannot predict", async (t) => {
  const { code, stderr } = await steadytune(["predict", "--model", temporaryFolder(t)], { input: '{"text": "a"}' });
  t.is(code, 1);
  t.regex(stderr, /^error: /);
  t.is((await steadytune(["predict"])).code, 2);
});

test("evaluate scores a labelled file", async (t) => {
  const args = [
    "evaluate",
    "--model",
    model,
    "--data",
    ticketsFile,
    "--text",
    "body",
    "--label",
    "queue",
    "--threads",
    "1",
  ];
  const { code, stdout, stderr } = await steadytune([...args, "--json"]);
  t.is(code, 0, stderr);
  const found = JSON.parse(stdout) as {
    rows: number;
    metric: string;
    scores: Record<string, number>;
    interval: number[];
  };
  t.is(found.rows, 160);
  const predicted = parse((await predict([ticketsFile, "--text", "body"])).stdout);
  const queues = readFileSync(ticketsFile, "utf8")
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.split(",").at(-1));
  const right = predicted.filter(({ label }, i) => label === queues[i]).length;
  t.is(found.scores["accuracy"] ?? 0, right / 160);
  const { stdout: text } = await steadytune(args);
  t.regex(text, /^accuracy +[\d.]+ \[[\d.]+, [\d.]+\]$/m);
  t.regex(text, /^majority class, accuracy +[\d.]+$/m);
});

test("evaluate without data, or on labels that the model does not know, is refused", async (t) => {
  t.is((await steadytune(["evaluate", "--model", model])).code, 2);
  const file = join(temporaryFolder(t), "other.csv");
  writeFileSync(file, "body,queue\nhello,catering\n");
  const { code, stderr } = await steadytune([
    "evaluate",
    "--model",
    model,
    "--data",
    file,
    "--text",
    "body",
    "--label",
    "queue",
  ]);
  t.is(code, 1);
  t.regex(stderr, /^error: .*catering/m);
});
