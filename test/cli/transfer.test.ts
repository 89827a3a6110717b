import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { RunResult } from "#src/training/result.js";
import { steadytune } from "../helpers/cli.js";
import { glueFolder } from "../helpers/glue-files.js";
import { withoutTimes } from "../helpers/run-log.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

const engine = ["--max-length", "32", "--batch-size", "16", "--threads", "1", "--set", "optimizer.learningRate=1e-3"];
const stage = ["--set", "transfer.task=MNLI", "--set", "transfer.evaluateOn=full", "--set", "transfer.steps=20"];

test("--set transfer.task trains the intermediate task first, shown as a run of its own, and once", async (t) => {
  const folder = temporaryFolder(t);
  const task = ["--model", tinyModel(folder), "--task", "RTE", "--data", glueFolder(folder), "--steps", "10"];
  const run = (name: string, ...more: string[]) =>
    steadytune(["finetune", ...task, ...engine, ...stage, "--output", join(folder, name), "--json", ...more]);

  const first = await run("one");
  t.is(first.code, 0, first.stderr);
  const lines = first.stderr.split("\n");
  const begins = lines.findIndex((line) => /^intermediate task MNLI: 90 training rows/.test(line));
  const target = lines.findIndex((line) => /^RTE: 90 training rows/.test(line));
  t.true(0 <= begins && begins < target, first.stderr);
  t.is(lines.slice(begins, target).filter((line) => /^step \d+\/20 /.test(line)).length, 10);
  t.like((JSON.parse(first.stdout) as RunResult).transfer, { task: "MNLI", metric: "accuracy" });

  const second = await run("two", "--seed", "1");
  t.is(second.code, 0, second.stderr);
  t.false(/intermediate task MNLI: \d+ training rows/.test(second.stderr));
  t.regex(second.stderr, /Starting from the intermediate task MNLI \(.*transfer-[0-9a-f]+\): step \d+/);

  const same = await steadytune(["config", "--task", "RTE", "--set", "transfer.task=rte"]);
  t.is(same.code, 2);
});

test("a study of two cells and two seeds trains the intermediate task that they share once", async (t) => {
  const folder = temporaryFolder(t);
  const glue = glueFolder(folder);
  const file = join(folder, "study.json");
  const study = {
    name: "shared",
    base: {
      ...{ model: tinyModel(folder), task: "RTE", data: "./glue", maxLength: 32, batchSize: 16, steps: 10, threads: 1 },
      transfer: { task: "MNLI", evaluateOn: "full", steps: 20, optimizer: { learningRate: 1e-3 } },
    },
    stages: [
      {
        name: "only",
        recipes: [
          { name: "paper", methods: [] },
          { name: "re-init", methods: [{ name: "reinit", layers: 0 }] },
        ],
        seeds: 2,
      },
    ],
  };
  writeFileSync(file, JSON.stringify(study));
  const output = join(folder, "out");
  const { code, stderr } = await steadytune(["study", file, "--workers", "2", "--output", output]);
  t.is(code, 0, stderr);
  const [id = "", ...others] = readdirSync(join(output, "stages"));
  t.deepEqual(others, []);
  const log = withoutTimes(join(output, "stages", id));
  t.is(log.filter(({ type }) => type === "step").length, 20);
  t.is(log.filter(({ type }) => type === "start").length, 1);

  const trials = readdirSync(join(output, "trials"));
  t.is(trials.length, 4);
  for (const trial of trials) {
    const result = JSON.parse(readFileSync(join(output, "trials", trial, "result.json"), "utf8")) as RunResult;
    t.is(result.transfer?.id, id);
  }

  // Another row of the intermediate task makes other trials.
  const again = await steadytune(["study", file, "--output", output]);
  t.regex(again.stderr, /all are finished/);
  const mnli = join(glue, "MNLI/train.tsv");
  writeFileSync(mnli, `${readFileSync(mnli, "utf8").split("\n").slice(0, -2).join("\n")}\n`);
  const changed = await steadytune(["study", file, "--output", output]);
  t.is(changed.code, 2);
  t.regex(changed.stderr, /planned with another intermediate task for "paper" on RTE, seed 0/);
});

test("--method appends methods of one's own, and the run is refused by the file's name when one is wrong", async (t) => {
  const folder = temporaryFolder(t);
  const data = ["--model", tinyModel(folder), "--data", ticketsFile, "--text", "body", "--label", "queue"];
  writeFileSync(
    join(folder, "mine.mjs"),
    "export default ({ rate = 2 }) => () => ({ 'pooler.weight': { lrScale: rate } });",
  );
  const config = ["config", "--set", "methods.0.rate=7", "--method", "mine.mjs"];
  const resolved = await steadytune(config, { cwd: folder });
  t.like((JSON.parse(resolved.stdout) as { methods: object[] }).methods[0], {
    name: join(folder, "mine.mjs"),
    rate: 7,
  });

  const train = (name: string, ...args: string[]) => {
    const run = [...engine, "--steps", "3", "--keep", "none", "--output", join(folder, name)];
    return steadytune(["finetune", ...data, ...run, "--method", "./mine.mjs", ...args], { cwd: folder });
  };
  const plain = await train("one");
  t.is(plain.code, 0, plain.stderr);
  t.like(JSON.parse(readFileSync(join(folder, "one/config.json"), "utf8")), {
    methods: [{ name: join(folder, "mine.mjs") }],
  });

  const wrong = await train("two", "--set", "methods.0.rate=-1");
  t.is(wrong.code, 2);
  t.regex(wrong.stderr, /error: the method .*mine\.mjs: pooler\.weight: lrScale must be a finite number/);
  t.false(existsSync(join(folder, "two/log.jsonl")));

  writeFileSync(join(folder, "mine.mjs"), "export default () => () => ({ 'pooler.weight': { lrScale: 4 } });");
  const edited = await train("one");
  t.is(edited.code, 2);
  t.regex(edited.stderr, /belongs to another config: methods\.0\.sha256 is/);
});
