import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { RunResult } from "#src/training/result.js";
import { steadytune, type Outcome } from "../helpers/cli.js";
import { withoutTimes } from "../helpers/run-log.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

/** Trains the tiny BERT on the tickets into `folder`/run. */
function finetune(folder: string, args: string[], options: Parameters<typeof steadytune>[1] = {}): Promise<Outcome> {
  const tickets = ["--model", tinyModel(folder), "--data", ticketsFile, "--text", "body", "--label", "queue"];
  const run = ["--output", join(folder, "run"), "--max-length", "32", "--batch-size", "16", "--threads", "1"];
  const rate = ["--set", "optimizer.learningRate=1e-3"];
  return steadytune(["finetune", ...tickets, ...run, ...rate, ...args], options);
}

test("--json prints result.json and nothing else on stdout; progress is plain lines on stderr", async (t) => {
  const folder = temporaryFolder(t);
  const { code, stdout, stderr } = await finetune(folder, ["--steps", "20", "--json"]);
  t.is(code, 0, stderr);
  t.deepEqual(JSON.parse(stdout), JSON.parse(readFileSync(join(folder, "run/result.json"), "utf8")));
  const evaluations = stderr.split("\n").filter((line) => /^step \d+\/20 /.test(line));
  t.is(evaluations.length, 10, "one line per evaluation, none per step");
  t.false(stderr.includes("\u001B"));
  t.true(existsSync(join(folder, "run/best/model.safetensors")));
});

test("without --json the scores are a table, with their intervals", async (t) => {
  const { code, stdout, stderr } = await finetune(temporaryFolder(t), ["--steps", "4", "--keep", "none"]);
  t.is(code, 0, stderr);
  t.regex(stdout, /^tickets: accuracy +validation \(\d+ rows\) +test \(\d+ rows\)$/m);
  t.regex(stdout, /^last, step 4 +[\d.]+ \[[\d.]+, [\d.]+\] +[\d.]+ \[[\d.]+, [\d.]+\]$/m);
  t.regex(stdout, /^majority class +[\d.]+ +[\d.]+$/m);
});

test("a run that has learned nothing is told as such, with what may help", async (t) => {
  // At learning rate 0 the fresh classifier stays, which knows nothing.
  const args = ["--steps", "1", "--keep", "none", "--set", "optimizer.learningRate=0"];
  const { code, stderr } = await finetune(temporaryFolder(t), args);
  t.is(code, 0, stderr);
  t.regex(stderr, /^warning: no better than always predicting the majority class; longer training or another seed/m);
});

test("--quiet leaves the result alone", async (t) => {
  const { code, stdout, stderr } = await finetune(temporaryFolder(t), ["--steps", "2", "--keep", "none", "--quiet"]);
  t.is(code, 0);
  t.is(stderr, "");
  t.not(stdout, "");
});

test("a run that diverges exits with 4 and keeps its record", async (t) => {
  const folder = temporaryFolder(t);
  const args = ["--steps", "30", "--json", "--set", "optimizer.learningRate=1e30", "--set", "optimizer.warmup=0"];
  const { code, stdout, stderr } = await finetune(folder, args);
  t.is(code, 4, stderr);
  t.regex(stderr, /^error: training diverged: .* at step \d+ of 30\nhint: /m);
  t.true((JSON.parse(stdout) as RunResult).diverged);
  t.true((JSON.parse(readFileSync(join(folder, "run/result.json"), "utf8")) as RunResult).diverged);
});

test("a run folder is not taken by another config", async (t) => {
  const folder = temporaryFolder(t);
  t.is((await finetune(folder, ["--steps", "2", "--keep", "none"])).code, 0);
  const { code, stderr } = await finetune(folder, ["--steps", "3", "--keep", "none"]);
  t.is(code, 2);
  t.regex(stderr, /^error: .* belongs to another config: steps is 2 there and 3 here\nhint: .*--output/m);
});

for (const [signal, expected] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGUSR2", 143],
] as const) {
  test(`${signal} saves and exits with ${expected}; --resume ends where an unbroken run does`, async (t) => {
    const [folder, unbroken] = [temporaryFolder(t), temporaryFolder(t)];
    // Long stretches without an evaluation, so that the signal comes between two steps.
    const args = ["--steps", "160", "--evaluations", "2", "--json"];
    let sent = false;
    const stopped = await finetune(folder, args, {
      onStderr(child, stderr) {
        if (!sent && /^step 80\/160/m.test(stderr)) sent = child.kill(signal);
      },
    });
    t.is(stopped.code, expected, stopped.stderr);
    t.regex(stopped.stderr, new RegExp(`^error: stopped by ${signal}\\nhint: .*--resume`, "m"));
    t.is(stopped.stdout, "");
    t.false(existsSync(join(folder, "run/result.json")));

    const resumed = await finetune(folder, [...args, "--resume"]);
    t.is(resumed.code, 0, resumed.stderr);
    const [a, b] = [resumed, await finetune(unbroken, args)].map(({ stdout }) => JSON.parse(stdout) as RunResult);
    t.deepEqual([a?.best, a?.last, a?.tokens], [b?.best, b?.last, b?.tokens]);
    const strip = (log: Record<string, unknown>[]) => log.filter(({ type }) => type !== "end");
    t.deepEqual(strip(withoutTimes(join(folder, "run"))), strip(withoutTimes(join(unbroken, "run"))));
  });
}
