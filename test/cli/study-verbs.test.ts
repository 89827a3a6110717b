import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { Trial } from "#src/study/plan.js";
import type { StudyStatus } from "#src/study/status.js";
import { steadytune } from "../helpers/cli.js";
import { outcomes, writeStudy } from "../helpers/ticket-study.js";
import { ticketsFile } from "../helpers/tiny-run.js";

async function statusOf(folder: string): Promise<StudyStatus> {
  const { stdout } = await steadytune(["study", "status", folder, "--json"]);
  return JSON.parse(stdout) as StudyStatus;
}

test("a plan holds each trial's whole config, hashes, versions and threads, and trains nothing", async (t) => {
  const { folder, file } = writeStudy(t);
  const output = join(folder, "out");
  const { code, stdout, stderr } = await steadytune(["study", "plan", file, "--output", output]);
  t.is(code, 0, stderr);
  t.regex(stdout, /^only +tickets +biased +40 steps +2$/m);
  t.deepEqual(readdirSync(output), ["manifest.jsonl"]);
  const [, ...lines] = readFileSync(join(output, "manifest.jsonl"), "utf8").trim().split("\n");
  const trials = lines.map((line) => JSON.parse(line) as Trial);
  t.is(trials.length, 4);
  for (const { config, fingerprint, versions } of trials) {
    t.is(config.threads, 1);
    t.is(config.evaluations, 10, "defaults are filled in");
    t.regex(fingerprint.data, /^[0-9a-f]{16}$/);
    t.regex(fingerprint.weights, /^[0-9a-f]{16}$/);
    t.regex(versions.torch, /^2\./);
    t.is(versions.steadytune, "0.1.0");
  }
});

test("plan, run one by one in any order, run the rest: the bits of the study in one command", async (t) => {
  const { folder, file } = writeStudy(t);
  const [whole, output] = [join(folder, "whole"), join(folder, "out")];
  t.is((await steadytune(["study", file, "--output", whole])).code, 0);
  t.is((await steadytune(["study", "plan", file, "--output", output])).code, 0);
  for (const index of ["3", "0"]) {
    const { code, stderr, stdout } = await steadytune(["study", "run", output, "--index", index, "--json"]);
    t.is(code, 0, stderr);
    t.is((JSON.parse(stdout) as { steps: number }).steps, 40);
  }
  t.is(readdirSync(join(output, "trials")).length, 2);
  const rest = await steadytune(["study", "run", file, "--output", output]);
  t.regex(rest.stderr, /4 runs; 2 of them are finished already/);
  t.deepEqual(outcomes(output), outcomes(whole));

  const times = () =>
    readdirSync(join(output, "trials")).map((id) => statSync(join(output, "trials", id, "result.json")).mtimeMs);
  const before = times();
  t.is((await steadytune(["study", "run", output])).code, 0);
  t.is((await steadytune(["study", "run", output, "--index", "3"])).code, 0);
  t.deepEqual(times(), before);
});

test("editing the study's file or its data changes no trial that is planned", async (t) => {
  const { folder, file } = writeStudy(t, { seeds: 1 });
  const table = join(folder, "own.csv");
  copyFileSync(ticketsFile, table);
  const output = join(folder, "out");
  t.is((await steadytune(["study", "plan", file, "--data", table, "--output", output])).code, 0);
  writeFileSync(file, "{}");
  t.is((await steadytune(["study", "run", output, "--index", "0"])).code, 0);

  const [, row = ""] = readFileSync(table, "utf8").split("\n");
  appendFileSync(table, `${row}\n`);
  const { code, stderr } = await steadytune(["study", "run", output]);
  t.is(code, 1);
  t.regex(stderr, /own\.csv does not hold any more what it did when the study was planned/);
  t.is(readdirSync(join(output, "trials")).length, 1);
});

test("status counts what is done, failed, diverged and waiting, by cell, and writes nothing", async (t) => {
  const { folder, file } = writeStudy(t, {
    recipes: [
      { name: "impossible", methods: [{ name: "reinit", layers: 99 }] },
      { name: "explosive", optimizer: { learningRate: 1e30, maxGradNorm: 0, warmup: 0 } },
      { name: "plain" },
    ],
  });
  const output = join(folder, "out");
  t.is((await steadytune(["study", "plan", file, "--output", output])).code, 0);
  t.like(await statusOf(output), { total: 6, waiting: 6, secondsLeft: null, workSecondsLeft: null });
  t.is((await steadytune(["study", "run", output, "--index", "0"])).code, 2, "the error of the trial");
  t.is((await steadytune(["study", "run", output, "--index", "1"])).code, 0, "a diverged trial is a result");
  t.is((await steadytune(["study", "run", output, "--index", "2"])).code, 0);

  const files = readdirSync(output, { recursive: true }).sort();
  const status = await statusOf(output);
  t.like(status, { done: 1, diverged: 1, failed: 1, running: 0, waiting: 3 });
  t.deepEqual(
    status.cells.map(({ recipe, trials, done, diverged, failed, waiting }) => [
      recipe,
      trials,
      done,
      diverged,
      failed,
      waiting,
    ]),
    [
      ["impossible", 2, 0, 0, 1, 1],
      ["explosive", 2, 0, 1, 0, 1],
      ["plain", 2, 1, 0, 0, 1],
    ],
  );
  t.is(status.trials[0]?.error?.code, "ERR_CONFIG");
  t.true((status.workSecondsLeft ?? 0) > 0);
  const plain = status.cells[2];
  t.is(plain?.best, status.trials[2]?.result?.best?.validation["accuracy"]);
  const { stdout } = await steadytune(["study", "status", output]);
  t.regex(stdout, /^tickets: 2 of 6 runs finished/);
  t.regex(stdout, /failed: impossible on tickets, seed 0: .*99/);
  t.deepEqual(readdirSync(output, { recursive: true }).sort(), files);
});

test("status follows a study that runs in another process", async (t) => {
  const { folder, file } = writeStudy(t, { base: { steps: 1500 }, seeds: 1 });
  const output = join(folder, "out");
  let seen: Promise<StudyStatus> | undefined;
  const { code } = await steadytune(["study", file, "--workers", "1", "--output", output], {
    onStderr: (child, stderr) => {
      if (seen !== undefined || !/2 runs/.test(stderr)) return;
      seen = (async () => {
        for (;;) {
          const status = await statusOf(output);
          const progress = status.trials.find(({ state }) => state === "running")?.progress;
          if (status.secondsLeft === null || (progress?.step ?? 0) === 0) continue;
          child.kill("SIGTERM");
          return status;
        }
      })();
    },
  });
  t.is(code, 143);
  const during = await seen;
  t.like(during, { total: 2, running: 1, waiting: 1 });
  t.true((during?.secondsLeft ?? 0) > 0);
  const running = during?.trials.find(({ state }) => state === "running")?.progress;
  t.is(running?.steps, 1500);
  const after = await statusOf(output);
  t.like(after, { running: 0, waiting: 2 });
  t.true((after.trials.find(({ progress }) => progress)?.progress?.step ?? 0) > 0, "where the cut off one stands");
  t.true(existsSync(join(output, "work")));
});

test("a study stops when its budget is spent, says what is left, and goes on with a larger one", async (t) => {
  const { folder, file } = writeStudy(t);
  const study = JSON.parse(readFileSync(file, "utf8")) as object;
  writeFileSync(file, JSON.stringify({ ...study, budget: { hours: 1e-6 } }));
  const output = join(folder, "out");
  const first = await steadytune(["study", file, "--output", output, "--workers", "1"]);
  t.is(first.code, 0, first.stderr);
  t.regex(first.stderr, /the budget is spent before 3 runs; to go on, give more hours: --budget/);
  t.like(await statusOf(output), { done: 1, waiting: 3, budget: { hours: 1e-6 } });
  t.regex((await steadytune(["study", "status", output])).stdout, /s of a budget of 4 ms spent/);
  const again = await steadytune(["study", "run", output, "--workers", "1"]);
  t.regex(again.stderr, /the budget is spent before 3 runs/);
  t.is((await statusOf(output)).done, 1);

  const more = await steadytune(["study", "run", output, "--budget", "1"]);
  t.is(more.code, 0, more.stderr);
  t.notRegex(more.stderr, /budget/);
  t.is((await statusOf(output)).done, 4);
  t.regex(
    (await steadytune(["study", "run", output, "--budget", "none"])).stderr,
    /--budget must be a number of hours/,
  );
});

test("runs that were planned with another libtorch are run, with a warning that names both", async (t) => {
  const { folder, file } = writeStudy(t, { seeds: 1 });
  const output = join(folder, "out");
  t.is((await steadytune(["study", "plan", file, "--output", output])).code, 0);
  const manifest = join(output, "manifest.jsonl");
  writeFileSync(manifest, readFileSync(manifest, "utf8").replaceAll(/"torch":"[^"]+"/g, '"torch":"2.9.1"'));
  const warning =
    /planned with steadytune 0\.1\.0 and libtorch 2\.9\.1 run with steadytune 0\.1\.0 and libtorch 2\.\d+\./;
  const one = await steadytune(["study", "run", output, "--index", "0"]);
  t.is(one.code, 0, one.stderr);
  t.regex(one.stderr, warning);
  const rest = await steadytune(["study", "run", output]);
  t.is(rest.code, 0, rest.stderr);
  t.is(rest.stderr.split(warning).length, 2, "once");
  t.notRegex((await steadytune(["study", "run", output])).stderr, warning);
});

test("a failed trial is left alone until retry, and exit code 1 goes on telling of it", async (t) => {
  const recipes = ["a", "b"].map((name) => ({ name, methods: [{ name: "./moody.mjs" as const, mood: name }] }));
  const { folder, file } = writeStudy(t, { seeds: 1, recipes });
  const bad = join(folder, "bad-mood");
  writeFileSync(
    join(folder, "moody.mjs"),
    `import { existsSync } from "node:fs";
     export default () => () => { if (existsSync(${JSON.stringify(bad)})) throw new Error("not today"); return {}; };`,
  );
  const output = join(folder, "out");
  const run = () => steadytune(["study", "run", output]);
  t.is((await steadytune(["study", "plan", file, "--output", output])).code, 0);
  writeFileSync(bad, "");
  t.is((await run()).code, 1);
  rmSync(bad);

  const again = await run();
  t.is(again.code, 1);
  t.regex(again.stderr, /2 runs; 2 failed before/);
  t.regex(again.stderr, /2 runs failed \(which: steadytune study status .*\); to try again: steadytune study retry/);
  t.like(await statusOf(output), { failed: 2, waiting: 0 });
  const retried = await steadytune(["study", "retry", output]);
  t.regex(retried.stderr, /2 runs to be tried again/);
  t.like(await statusOf(output), { failed: 0, waiting: 2 });
  t.is((await run()).code, 0);
  t.is(readdirSync(join(output, "trials")).length, 2);
  t.regex((await steadytune(["study", "retry", output])).stderr, /no trial has failed/);
});

test("a run whose data are gone is not to blame: once they are back the same command trains it", async (t) => {
  const { folder, file } = writeStudy(t, { seeds: 1, recipes: [{ name: "plain" }] });
  const table = join(folder, "own.csv");
  copyFileSync(ticketsFile, table);
  const output = join(folder, "out");
  t.is((await steadytune(["study", "plan", file, "--data", table, "--output", output])).code, 0);
  writeFileSync(table, "gone");
  const without = await steadytune(["study", "run", output]);
  t.is(without.code, 1);
  t.regex(without.stderr, /failed: plain on own, seed 0: .*own\.csv holds no rows/);
  copyFileSync(ticketsFile, table);
  t.is((await steadytune(["study", "run", output])).code, 0);
  t.like(await statusOf(output), { done: 1, failed: 0 });
});

test("seeds are added to a finished study, whose runs stay as they are; the report has both", async (t) => {
  const { folder, file } = writeStudy(t, { seeds: 1 });
  const output = join(folder, "out");
  t.is((await steadytune(["study", file, "--output", output])).code, 0);
  const before = outcomes(output);
  const added = await steadytune(["study", "add-seeds", output, "1"]);
  t.is(added.code, 0, added.stderr);
  t.regex(added.stderr, /2 runs added/);
  t.like(await statusOf(output), { done: 2, waiting: 2 });
  t.is((await steadytune(["study", "run", output])).code, 0);
  t.like(outcomes(output), before);
  const report = await steadytune(["study", "report", output]);
  t.is(report.code, 0);
  t.regex(report.stdout, /^plain +2 /m);
  t.is((await steadytune(["study", "add-seeds", output, "0"])).code, 2);
});

test("a verb that is given no study, or one that is not planned, says so", async (t) => {
  const { folder, file } = writeStudy(t);
  const wrong: [string[], RegExp][] = [
    [["status", join(folder, "nowhere")], /there is no study .*nowhere/],
    [["run", folder], /holds no study: it has no manifest\.jsonl\nhint: plan one first/],
    [["status", file, "--output", join(folder, "out")], /holds no study/],
  ];
  for (const [args, message] of wrong) {
    const { code, stderr } = await steadytune(["study", ...args]);
    t.is(code, 2);
    t.regex(stderr, message);
  }
  await steadytune(["study", "plan", file, "--output", join(folder, "out")]);
  const { code, stderr } = await steadytune(["study", "run", join(folder, "out"), "--index", "4"]);
  t.is(code, 2);
  t.regex(stderr, /--index must be a whole number from 0 to 3/);
});

test("a verb that does not exist is not taken for a file, and flags that exclude each other are refused", async (t) => {
  for (const args of [["plna"], ["plna", "study.json"], ["reprt", "."]]) {
    const { code, stderr } = await steadytune(["study", ...args]);
    t.is(code, 2);
    t.regex(stderr, /study has no verb "\w+"\n.*did you mean "(plan|report)"/);
  }
  const { code, stderr } = await steadytune(["study", "run", ".", "--index", "0", "--executor", "slurm"]);
  t.is(code, 2);
  t.regex(stderr, /--index and --executor exclude each other/);
});
