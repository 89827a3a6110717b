import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { chosenExecutor } from "#src/cli/study/executor.js";
import { checkStudy } from "#src/study/check.js";
import { currentTask, secondsOf } from "#src/study/slurm/requeue.js";
import { batchScript, type ScriptOptions } from "#src/study/slurm/script.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const least: ScriptOptions = {
  name: "tickets",
  folder: "/home/me/runs/tickets",
  submission: "/home/me/runs/tickets/slurm/1",
  tasks: 6,
  trials: 12,
  threads: 2,
  command: ["/usr/bin/node", "/opt/steadytune/dist/cli.js"],
};

function directives(options: Partial<ScriptOptions>): string[] {
  return batchScript({ ...least, ...options })
    .split("\n")
    .filter((line) => line.startsWith("#SBATCH "))
    .map((line) => line.slice("#SBATCH ".length));
}

test("a job is an array that is warned ahead of its limit, requeued, and keeps its logs", (t) => {
  t.deepEqual(directives({}), [
    "--job-name=steadytune-tickets",
    "--array=0-5",
    "--comment=/home/me/runs/tickets/slurm/1",
    "--output=/home/me/runs/tickets/slurm/1/logs/%a.log",
    "--open-mode=append",
    "--requeue",
    "--signal=B:USR2@90",
    "--ntasks=1",
    "--cpus-per-task=2",
  ]);
});

test("what the study's executor asks for is passed on to sbatch", (t) => {
  const asked = directives({
    ...{ parallel: 4, partition: "gpu", account: "nlp", qos: "low", gres: "gpu:a100:1", time: "1-00:00:00" },
    ...{ memory: "16G", options: ["--constraint=a100|h100", "--exclude=node7"] },
  });
  t.is(asked[1], "--array=0-5%4");
  t.deepEqual(asked.slice(9), [
    "--partition=gpu",
    "--account=nlp",
    "--qos=low",
    "--gres=gpu:a100:1",
    "--time=1-00:00:00",
    "--mem=16G",
    "--constraint=a100|h100",
    "--exclude=node7",
  ]);
});

test("folders and modules with odd names reach sbatch and bash as they are", (t) => {
  const odd = `/data/50% of "it's" $HOME`;
  const script = batchScript({ ...least, folder: odd, submission: `${odd}/slurm/1`, modules: ["cuda/12 beta"] });
  t.true(script.includes(`#SBATCH --output="/data/50%% of \\"it's\\" $HOME/slurm/1/logs/%a.log"`), script);
  t.true(script.includes("module load 'cuda/12 beta' || exit"));
  t.is(spawnSync("bash", ["-n"], { input: script }).status, 0);
});

test("every task runs its own line of trials, after the lines that set the cluster up", (t) => {
  const folder = temporaryFolder(t);
  const submission = join(folder, "it's", "1");
  mkdirSync(submission, { recursive: true });
  writeFileSync(join(submission, "tasks"), "aa,bb\ncc,dd\nee\n");
  const options = { ...least, folder: join(folder, "it's"), submission, setup: ["export GREETING='good morning'"] };
  const script = batchScript({ ...options, command: ["printf", "%s\\n", "node's"] });
  const run = (task: number): string =>
    execFileSync("bash", [], {
      input: script,
      encoding: "utf8",
      env: { ...process.env, SLURM_ARRAY_TASK_ID: `${task}` },
    });
  t.deepEqual(run(1).trimEnd().split("\n"), ["node's", "study", "run", join(folder, "it's"), "--trials", "cc,dd"]);
  t.regex(run(2), /\nee\n$/);
  const greet = batchScript({ ...options, command: ["bash", "-c", "echo $GREETING"] });
  t.is(execFileSync("bash", [], { input: greet, encoding: "utf8" }), "good morning\n");
});

test("the time that squeue says is left is read in all its forms", (t) => {
  t.deepEqual(["0:07", "59:30", "2:00:00", "1-02:03:04", "UNLIMITED", "NOT_SET", "INVALID"].map(secondsOf), [
    7,
    3570,
    7200,
    93784,
    Infinity,
    Infinity,
    0,
  ]);
});

test("only a task of an array job takes itself for one", (t) => {
  t.is(currentTask({}), null);
  t.is(currentTask({ SLURM_JOB_ID: "7" }), null);
  t.deepEqual(currentTask({ SLURM_JOB_ID: "9", SLURM_ARRAY_JOB_ID: "7", SLURM_ARRAY_TASK_ID: "1" }), {
    name: "7_1",
    job: "9",
  });
});

test("flags come before what the study's file says of its executor", (t) => {
  const planned = { name: "slurm" as const, partition: "gpu", parallel: 8, setup: ["source env.sh"] };
  t.deepEqual(chosenExecutor({}, planned), { partition: "gpu", parallel: 8, setup: ["source env.sh"] });
  t.deepEqual(chosenExecutor({ partition: "cpu", parallel: "2", sbatch: ["--nice"] }, planned), {
    ...{ partition: "cpu", parallel: 2, setup: ["source env.sh"], options: ["--nice"] },
  });
  t.is(chosenExecutor({ executor: "local" }, planned), null);
  t.is(chosenExecutor({}), null);
});

test("flags that cannot be meant are refused", (t) => {
  const refuse = (flags: Parameters<typeof chosenExecutor>[0], message: RegExp) =>
    t.throws(() => chosenExecutor(flags), { code: "ERR_CONFIG", message });
  refuse({ partition: "gpu" }, /--partition is a matter of Slurm, but the trials run on this machine/);
  refuse({ executor: "pbs" }, /--executor must be local or slurm, but is pbs/);
  refuse({ executor: "slurm", parallel: "0" }, /--parallel must be a whole number from 1/);
  refuse({ executor: "slurm", setup: ["one\n#SBATCH --two"] }, /--setup must be one line/);
});

test("a mistake in a study's executor is named with the key that was meant", (t) => {
  const study = { name: "x", stages: [{ name: "s", recipes: [{ name: "r" }], seeds: 1 }] };
  const refuse = (executor: object) => t.throws(() => checkStudy({ ...study, executor }, "study.json"));
  const unknown = refuse({ name: "slurm", partion: "gpu" });
  t.like(unknown, { message: 'study.json: unknown key "partion" in executor', hint: 'did you mean "partition"?' });
  t.regex(refuse({ name: "slurm", setup: ["one\n#SBATCH --two"] })?.message ?? "", /executor\.setup/);
  t.notThrows(() => checkStudy({ ...study, executor: { name: "slurm", gres: "gpu:1" } }, "study.json"));
});
