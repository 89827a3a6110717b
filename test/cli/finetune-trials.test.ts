import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import type { RunResult } from "#src/training/result.js";
import { steadytune } from "../helpers/cli.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

interface Trials {
  best: string | null;
  checkpoint: string | null;
  trials: { id: string; seed: string; result: RunResult }[];
}

test("--trials trains several seeds and keeps the checkpoint that is best on validation, also when more are added", async (t) => {
  const folder = temporaryFolder(t);
  const output = join(folder, "out");
  const args = ["--model", tinyModel(folder), "--data", ticketsFile, "--text", "body", "--label", "queue"];
  const run = async (trials: number): Promise<Trials> => {
    const flags = ["--max-length", "32", "--steps", "30", "--set", "optimizer.learningRate=1e-3", "--output", output];
    const { code, stdout, stderr } = await steadytune([
      "finetune",
      ...args,
      ...flags,
      "--trials",
      `${trials}`,
      "--json",
    ]);
    t.is(code, 0, stderr);
    return JSON.parse(stdout) as Trials;
  };
  const best = ({ trials }: Trials) => {
    const scores = trials.map(({ result }) => result.best?.validation[result.selectedBy] ?? 0);
    return trials[scores.indexOf(Math.max(...scores))]?.id;
  };

  const two = await run(2);
  t.deepEqual(
    two.trials.map(({ seed }) => seed),
    ["seed 0", "seed 1"],
  );
  t.is(two.best, best(two) ?? "");
  t.is(two.checkpoint, join(output, "best"));
  t.true(existsSync(join(output, "best/model.safetensors")));
  for (const id of readdirSync(join(output, "trials"))) t.false(existsSync(join(output, "trials", id, "best")));

  const four = await run(4);
  t.is(four.trials.length, 4);
  t.deepEqual(four.trials.slice(0, 2), two.trials, "those that are there are not trained again");
  t.is(four.best, best(four) ?? "");
  const scored = await steadytune(["evaluate", "--model", join(output, "best"), "--data", ticketsFile, "--json"]);
  t.is(scored.code, 0, scored.stderr);
});

test("what cannot go with --trials is said", async (t) => {
  const args = ["finetune", "--model", "m", "--data", "d.csv", "--trials"];
  for (const [rest, message] of [
    [["none"], /--trials must be a whole number/],
    [["2", "--init-seed", "3"], /initSeed and orderSeed are those of one run/],
  ] as const) {
    const { code, stderr } = await steadytune([...args, ...rest]);
    t.is(code, 2);
    t.regex(stderr, message);
  }
});
