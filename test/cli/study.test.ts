import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { steadytune } from "../helpers/cli.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { childrenOf, outcomes, twoRecipes, writeStudy, type Recipe } from "../helpers/ticket-study.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

test("a study trains every cell, reports, and does nothing the second time", async (t) => {
  const { folder, file } = writeStudy(t);
  const output = join(folder, "out");
  const first = await steadytune(["study", file, "--output", output]);
  t.is(first.code, 0, first.stderr);
  t.regex(first.stdout, /plain +2 +/);
  t.regex(first.stderr, /4 runs/);
  for (const name of ["report.html", "table.csv", "trials.csv", "study.json", "figures/scores.svg"]) {
    t.true(existsSync(join(output, name)), name);
  }
  const trials = readdirSync(join(output, "trials"));
  t.is(trials.length, 4);
  t.deepEqual(readdirSync(join(output, "work")), []);
  t.false(existsSync(join(output, "trials", trials[0] ?? "", "best")));

  const times = trials.map((id) => statSync(join(output, "trials", id, "result.json")).mtimeMs);
  const second = await steadytune(["study", file, "--output", output]);
  t.is(second.code, 0);
  t.regex(second.stderr, /4 runs; all are finished/);
  t.deepEqual(
    trials.map((id) => statSync(join(output, "trials", id, "result.json")).mtimeMs),
    times,
  );
});

test("neither the number of workers nor the order of trials changes a bit", async (t) => {
  const { folder, file } = writeStudy(t, { base: { threads: 1 } });
  const reversed = writeStudy(t, { base: { threads: 1 }, recipes: [...twoRecipes].reverse() });
  const runs = [
    ["study", file, "--workers", "1", "--output", join(folder, "one")],
    ["study", file, "--workers", "2", "--output", join(folder, "two")],
    ["study", reversed.file, "--workers", "1", "--output", join(folder, "reversed")],
  ];
  for (const args of runs) t.is((await steadytune(args)).code, 0);
  const expected = outcomes(join(folder, "one"));
  t.is(Object.keys(expected).length, 4);
  t.deepEqual(outcomes(join(folder, "two")), expected);
  t.deepEqual(outcomes(join(folder, "reversed")), expected);
});

test("a study killed in the middle goes on, and ends with the bits of an unbroken one", async (t) => {
  const { folder, file } = writeStudy(t, { base: { threads: 1, steps: 400 }, seeds: 1 });
  const unbroken = await steadytune(["study", file, "--output", join(folder, "unbroken")]);
  t.is(unbroken.code, 0, unbroken.stderr);
  const output = join(folder, "killed");
  const killed = await steadytune(["study", file, "--workers", "1", "--output", output], {
    onStderr: (child, stderr) => {
      if (!/1\/2 /.test(stderr)) return;
      setTimeout(() => {
        const workers = childrenOf(child.pid ?? 0);
        child.kill("SIGKILL");
        for (const worker of workers) process.kill(worker, "SIGKILL");
      }, 300);
    },
  });
  t.is(killed.signal, "SIGKILL");
  t.is(readdirSync(join(output, "trials")).length, 1);
  const resumed = await steadytune(["study", file, "--workers", "1", "--output", output]);
  t.is(resumed.code, 0, resumed.stderr);
  t.regex(resumed.stderr, /1 of them/);
  t.deepEqual(outcomes(output), outcomes(join(folder, "unbroken")));
});

test("two processes on one folder share the work, and no trial is trained twice", async (t) => {
  const { folder, file } = writeStudy(t, { base: { threads: 1, steps: 100 }, seeds: 3 });
  const output = join(folder, "out");
  const both = await Promise.all(
    [0, 1].map(() => steadytune(["study", file, "--workers", "1", "--output", output, "--quiet", "--json"])),
  );
  for (const { code, stderr } of both) t.is(code, 0, stderr);
  const trials = readdirSync(join(output, "trials"));
  t.is(trials.length, 6);
  t.deepEqual(readdirSync(join(output, "work")), []);
  for (const id of trials) {
    const log = readFileSync(join(output, "trials", id, "log.jsonl"), "utf8");
    t.is(log.match(/"type":"start"/g)?.length, 1);
    t.is(log.match(/"type":"step"/g)?.length, 100);
  }
});

test("a worker that is killed costs no result: its trial goes on in another one", async (t) => {
  const { folder, file } = writeStudy(t, { base: { threads: 1, steps: 400 } });
  const output = join(folder, "out");
  let killed = 0;
  const { code, stderr } = await steadytune(["study", file, "--workers", "1", "--output", output], {
    onStderr: (child, text) => {
      if (killed > 0 || !/1\/4 /.test(text)) return;
      const [worker] = childrenOf(child.pid ?? 0);
      if (worker === undefined) return;
      killed = worker;
      process.kill(worker, "SIGKILL");
    },
  });
  t.true(killed > 0);
  t.is(code, 0, stderr);
  t.regex(stderr, /a worker process died of SIGKILL; the trial goes on/);
  t.is(readdirSync(join(output, "trials")).length, 4);
});

test("Ctrl-C saves and stops with 130; no worker outlives the study", async (t) => {
  const { folder, file } = writeStudy(t, { base: { threads: 1, steps: 2000 } });
  const output = join(folder, "out");
  let workers: number[] = [];
  const { code, stderr } = await steadytune(["study", file, "--workers", "2", "--output", output], {
    onStderr: (child, text) => {
      if (workers.length > 0 || !/4 runs/.test(text)) return;
      const wait = setInterval(() => {
        workers = childrenOf(child.pid ?? 0);
        const states = existsSync(join(output, "work")) ? readdirSync(join(output, "work")) : [];
        if (workers.length < 2 || !states.some((id) => existsSync(join(output, "work", id, "state.bin")))) return;
        clearInterval(wait);
        child.kill("SIGINT");
      }, 50);
    },
  });
  t.is(code, 130, stderr);
  t.regex(stderr, /the same command goes on where it stopped/);
  t.is(workers.length, 2);
  t.true(workers.every((worker) => !existsSync(`/proc/${worker}`)));
});

test("a trial that fails leaves the others alone and is told by exit code 1; one that diverges is a result", async (t) => {
  const { folder, file } = writeStudy(t, {
    seeds: 1,
    recipes: [
      { name: "impossible", methods: [{ name: "reinit", layers: 99 }] },
      { name: "explosive", optimizer: { learningRate: 1e30, maxGradNorm: 0, warmup: 0 } },
      { name: "plain" },
    ],
  });
  const output = join(folder, "out");
  const { code, stderr, stdout } = await steadytune(["study", file, "--output", output]);
  t.is(code, 1, stderr);
  t.regex(stderr, /failed: impossible on tickets, seed 0: .*99/);
  t.regex(stderr, /explosive on tickets, seed 0 .*diverged at step/);
  t.regex(stdout, /plain +1 /);
  const [failure] = readdirSync(join(output, "work"));
  t.regex(readFileSync(join(output, "work", failure ?? "", "error.json"), "utf8"), /"ERR_CONFIG"/);
});

test("the same study on the reader's own table takes nothing but flags", async (t) => {
  const { folder, file } = writeStudy(t, { seeds: 1 });
  const table = join(folder, "mine.csv");
  const rows = Array.from(
    { length: 60 },
    (_, i) => `${i % 2 ? "good" : "bad"} thing number ${i},${i % 2 ? "yes" : "no"}`,
  );
  writeFileSync(table, `words,verdict\n${rows.join("\n")}\n`);
  const output = join(folder, "mine");
  const flags = ["--data", table, "--text", "words", "--label", "verdict", "--steps", "5"];
  const { code, stdout, stderr } = await steadytune(["study", file, ...flags, "--output", output, "--json"]);
  t.is(code, 0, stderr);
  const { summaries } = JSON.parse(stdout) as { summaries: { task: string; runs: number }[] };
  t.deepEqual(
    summaries.map(({ task, runs }) => [task, runs]),
    [
      ["mine", 1],
      ["mine", 1],
    ],
  );
});

test("a report is written from single runs as well", async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "runs"));
  const model = tinyModel(folder);
  const data = ["--model", model, "--data", ticketsFile, "--text", "body", "--label", "queue", "--max-length", "32"];
  const outputs: string[] = [];
  for (const seed of [0, 1]) {
    const output = join(folder, "runs", `seed${seed}`);
    const args = ["finetune", ...data, "--steps", "4", "--seed", String(seed), "--keep", "none", "--output", output];
    const { code, stderr } = await steadytune(args);
    t.is(code, 0, stderr);
    outputs.push(output);
  }
  const { code, stdout, stderr } = await steadytune(["report", ...outputs, "--output", join(folder, "report")]);
  t.is(code, 0, stderr);
  t.regex(stdout, /all runs +2 /);
  t.true(existsSync(join(folder, "report/report.html")));
});

test("a mistake in a study is a usage error that names its place", async (t) => {
  const { folder, file } = writeStudy(t, { recipes: [{ name: "a", epochz: 3 } as Recipe] });
  const { code, stderr } = await steadytune(["study", file, "--output", join(folder, "out")]);
  t.is(code, 2);
  t.regex(stderr, /stages\[0\]\.recipes\[0\] \(a\): unknown key "epochz"/);
  t.regex(stderr, /did you mean "epochs"/);
});
