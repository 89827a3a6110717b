import { readFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { Submitted } from "#src/study/slurm/submit.js";
import { requireManifest, writeManifest } from "#src/study/manifest.js";
import { steadytune } from "../helpers/cli.js";
import { fakeSlurm } from "../helpers/fake-slurm.js";
import { writeSyntheticStudy } from "../helpers/synthetic-study.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { writeStudy } from "../helpers/ticket-study.js";
import { tinyModel } from "../helpers/tiny-run.js";

/** One run of six seconds is finished, two are not. */
async function begunStudy(t: ExecutionContext): Promise<string> {
  const folder = temporaryFolder(t);
  const config = { model: tinyModel(folder) };
  await writeSyntheticStudy(folder, [{ recipe: "r", scores: [0.7, undefined, undefined], config }]);
  return folder;
}

test("once the budget is spent nothing is submitted, whether the file or the flag gives it", async (t) => {
  const folder = await begunStudy(t);
  const { env, calls } = fakeSlurm(t);
  const submit = ["study", "run", folder, "--executor", "slurm"];
  const spent = await steadytune([...submit, "--budget", "0.001"], { env });
  t.is(spent.code, 0, spent.stderr);
  t.regex(spent.stderr, /the budget is spent before 2 runs; to go on, give more hours: --budget/);
  t.notRegex(spent.stderr, /nothing to submit/);

  const { study, trials } = await requireManifest(folder);
  await writeManifest(folder, { study: { ...study, budget: { hours: 0.001 } }, trials });
  const { stdout } = await steadytune([...submit, "--json"], { env });
  t.like(JSON.parse(stdout) as Submitted, { jobs: { length: 0 }, overBudget: 2 });
  t.deepEqual(calls("sbatch"), []);

  const more = await steadytune([...submit, "--budget", "5"], { env });
  t.is(more.code, 0, more.stderr);
  t.regex(more.stderr, /job 101: 2 trials/);
});

test("array tasks, and the stages that they submit, keep to the budget that study run was given", async (t) => {
  const folder = await begunStudy(t);
  const { env } = fakeSlurm(t);
  const { code, stderr } = await steadytune(["study", "run", folder, "--executor", "slurm", "--budget", "2.5"], {
    env,
  });
  t.is(code, 0, stderr);
  t.regex(readFileSync(join(folder, "slurm/1/job.sh"), "utf8"), /study run .* --trials "\$trials" --budget 2\.5$/m);
  t.like(JSON.parse(readFileSync(join(folder, "slurm/executor.json"), "utf8")), { budget: { hours: 2.5 } });

  const { trials } = await requireManifest(folder);
  const task = await steadytune(["study", "run", folder, "--trials", trials[1]!.id, "--budget", "0.001"]);
  t.is(task.code, 0, task.stderr);
  t.regex(task.stderr, /the budget is spent before 1 run/);
});

test("cancel takes out all jobs of a study's submissions, also one that somebody gave to sbatch by hand", async (t) => {
  const folder = await begunStudy(t);
  const { env, queue, calls } = fakeSlurm(t);
  t.is((await steadytune(["study", "run", folder, "--executor", "slurm"], { env })).code, 0);
  const comment = join(folder, "slurm/1");
  queue([
    `101|0|RUNNING|None|${comment}`,
    `101|1|COMPLETED|None|${comment}`,
    `207|0|PENDING|Priority|${comment}`,
    `207|1|PENDING|Priority|${comment}`,
    "300|0|RUNNING|None|/elsewhere/slurm/1",
  ]);
  const again = await steadytune(["study", "run", folder, "--executor", "slurm"], { env });
  t.regex(again.stderr, /2 trials in the queue already/);
  const { code, stderr } = await steadytune(["study", "cancel", folder], { env });
  t.is(code, 0, stderr);
  t.regex(stderr, /3 tasks cancelled/);
  t.deepEqual(calls("scancel"), ["101 207"]);
});

test("of a task that the queue has forgotten status tells how it ended, where the cluster keeps accounts", async (t) => {
  const folder = await begunStudy(t);
  const { env, accounts } = fakeSlurm(t);
  const submit = ["study", "run", folder, "--executor", "slurm", "--trials-per-task", "1"];
  t.is((await steadytune(submit, { env })).code, 0);
  const status = async (): Promise<string> => (await steadytune(["study", "status", folder], { env })).stdout;
  t.regex(await status(), /seed 1: job 101_0 UNKNOWN, .*\n.*seed 2: job 101_1 UNKNOWN, /);
  accounts(["101_0|OUT_OF_MEMORY", "101_1|CANCELLED by 1000"]);
  t.regex(await status(), /seed 1: job 101_0 OUT_OF_MEMORY, .*\n.*seed 2: job 101_1 CANCELLED, /);
});

test("flags that would have nothing to say are refused", async (t) => {
  const folder = await begunStudy(t);
  const { file } = writeStudy(t);
  const wrong: [string[], RegExp][] = [
    [["run", folder, "--executor", "slurm", "--workers", "2"], /--workers is a matter of this machine.*\n.*--parallel/],
    [[file, "--output", join(folder, "new"), "--executor", "slurm", "--workers", "2"], /--workers is a matter of this/],
    [["run", folder, "--trials", "x", "--workers", "2"], /--trials and --workers exclude each other/],
    [["run", folder, "--index", "0", "--workers", "2"], /--index and --workers exclude each other/],
    [["run", folder, "--index", "0", "--budget", "2"], /--index and --budget exclude each other/],
  ];
  for (const [args, message] of wrong) {
    const { code, stderr } = await steadytune(["study", ...args], { env: fakeSlurm(t).env });
    t.is(code, 2, stderr);
    t.regex(stderr, message);
  }
});
