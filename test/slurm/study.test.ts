import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { RunConfig } from "#src/config/schema.js";
import type { Cluster } from "#src/study/slurm/cluster.js";
import type { TrialInSlurm } from "#src/study/slurm/queue.js";
import type { Submitted, SubmittedJob } from "#src/study/slurm/submit.js";
import type { StudyStatus } from "#src/study/status.js";
import { steadytune, type CliOptions, type Outcome } from "../helpers/cli.js";
import { startSlurm, type OneNode } from "../helpers/slurm.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile } from "../helpers/tiny-run.js";
import { outcomes, writeStudy, type Recipe } from "../helpers/ticket-study.js";

/** A real Slurm for all tests of this file; null where there is none, and then the tests say so. */
let node: OneNode | null = null;
let skipped = "";

test.before(async () => {
  node = await startSlurm((reason) => (skipped = reason), ["--max-array-size", "4"]);
});

test.after.always(() => node?.stop());

/** One after the other: a trial that a test wants to interrupt must not wait for the processors. */
function slurmTest(title: string, body: (t: ExecutionContext, node: OneNode) => Promise<void>): void {
  test.serial(title, async (t) => {
    if (node !== null) return body(t, node);
    t.log(skipped);
    t.pass();
  });
}

/** Steps of a trial that is still at work when a test gets at it, and of one that is over at once. */
const [long, short] = [800, 20];

interface Planned {
  steps?: number;
  seeds?: number;
  recipes?: Recipe[];
  base?: RunConfig;
}

/** A planned study; the names of its folders are full of what Slurm and bash could stumble over. */
async function planned(
  t: ExecutionContext,
  { steps = short, seeds = 1, recipes = [{ name: "plain" }], base = {} }: Planned = {},
): Promise<string> {
  const { folder, file } = writeStudy(t, { base: { steps, ...base }, seeds, recipes });
  const output = join(folder, `50% of "it's"`, "out");
  const { code, stderr } = await steadytune(["study", "plan", file, "--output", output]);
  t.is(code, 0, stderr);
  return output;
}

/** What the trials of a planned study come to on this machine, without Slurm. */
async function withoutSlurm(t: ExecutionContext, output: string): Promise<ReturnType<typeof outcomes>> {
  const folder = join(dirname(output), "local");
  mkdirSync(folder);
  copyFileSync(join(output, "manifest.jsonl"), join(folder, "manifest.jsonl"));
  const { code, stderr } = await steadytune(["study", "run", folder, "--workers", "1"]);
  t.is(code, 0, stderr);
  return outcomes(folder);
}

/** The same of one long trial: several tests interrupt it, and all must come to its bits. */
let unbroken: ReturnType<typeof outcomes> | null = null;

function study(node: OneNode, args: readonly string[], options: CliOptions = {}): Promise<Outcome> {
  return steadytune(["study", ...args], { ...options, env: { ...node.env, ...options.env } });
}

/** Of the one job that most tests submit, "none" where there was nothing to submit; all of them in `jobs`. */
interface Answer extends Omit<SubmittedJob, "script" | "after"> {
  queued: number;
  jobs: SubmittedJob[];
}

async function submit(
  t: ExecutionContext,
  node: OneNode,
  folder: string,
  flags: readonly string[] = [],
): Promise<Answer> {
  const { code, stdout, stderr } = await study(node, ["run", folder, "--executor", "slurm", "--json", ...flags]);
  t.is(code, 0, stderr);
  const { jobs, queued } = JSON.parse(stdout) as Submitted;
  const { job, trials, tasks } = jobs[0] ?? { job: "none", trials: 0, tasks: 0 };
  return { job, trials, tasks, queued, jobs };
}

async function status(
  t: ExecutionContext,
  node: OneNode,
  folder: string,
): Promise<StudyStatus & { slurm: Record<string, TrialInSlurm> | null }> {
  const { code, stdout, stderr } = await study(node, ["status", folder, "--json"]);
  t.is(code, 0, stderr);
  return JSON.parse(stdout) as StudyStatus & { slurm: Record<string, TrialInSlurm> | null };
}

/** Whether a trial of the study trains now and has a state to go on from. */
const atWork = (folder: string) => (): boolean => {
  const work = join(folder, "work");
  return existsSync(work) && readdirSync(work).some((id) => existsSync(join(work, id, "state.bin")));
};

/** Whether a trial is past its first step. */
const isTraining = (folder: string): boolean =>
  existsSync(join(folder, "work")) &&
  readdirSync(join(folder, "work")).some((id) => {
    const log = join(folder, "work", id, "log.jsonl");
    return existsSync(log) && readFileSync(log, "utf8").includes('"type":"step"');
  });

const isPending = (node: OneNode, job: string) => (): boolean =>
  /PENDING/.test(node.slurm("squeue", "-h", "-j", job, "-o", "%T"));

const logOf = (folder: string, submission = 1, task = 0): string =>
  readFileSync(join(folder, `slurm/${submission}/logs/${task}.log`), "utf8");

/** When the run of the study's only trial was begun: one that goes on leaves its config alone. */
function begunMs(folder: string): number {
  const [id = ""] = readdirSync(join(folder, "trials"));
  return statSync(join(folder, "trials", id, "config.json")).mtimeMs;
}

slurmTest("an array of several trials a task has the bits of the local executor", async (t, node) => {
  const recipes = [{ name: "plain" }, { name: "biased", optimizer: { biasCorrection: false } }];
  const output = await planned(t, { recipes, seeds: 3 });
  const flags = ["--partition", "main", "--gres", "gpu:1", "--time", "10", "--memory", "900M", "--parallel", "2"];
  const { job, trials, tasks } = await submit(t, node, output, [...flags, "--setup", "echo set up by $USER"]);
  // This Slurm takes arrays of four.
  t.deepEqual([trials, tasks], [6, 3]);
  const record = node.slurm("scontrol", "-o", "show", "job", job);
  for (const asked of [/TimeLimit=00:10:00/, /mem=900M/, /gres:gpu:1/, /Requeue=1/, /ArrayTaskThrottle=2/]) {
    t.regex(record, asked);
  }
  t.is(Object.values((await status(t, node, output)).slurm ?? {}).length, 6);
  await node.untilEnded(job);
  t.deepEqual(outcomes(output), await withoutSlurm(t, output));
  t.deepEqual(readdirSync(join(output, "slurm/1/logs")).sort(), ["0.log", "1.log", "2.log"]);
  t.regex(logOf(output, 1, 2), /^set up by/);
  t.is(logOf(output, 1, 2).split("test accuracy").length - 1, 2);
  t.deepEqual(await submit(t, node, output), { job: "none", trials: 0, tasks: 0, queued: 0, jobs: [] });
  t.deepEqual(readdirSync(join(output, "slurm")).sort(), ["1", "executor.json"]);
});

slurmTest("a preempted task saves its state, requeues itself and ends with the same bits", async (t, node) => {
  const output = await planned(t, { steps: long });
  unbroken ??= await withoutSlurm(t, output);
  const { job } = await submit(t, node, output);
  await node.until("a trial at work", atWork(output));
  const signalledMs = Date.now();
  node.slurm("scancel", "--batch", "--signal=USR2", `${job}_0`);
  await node.until("a requeued task", isPending(node, job));
  t.regex(logOf(output), /this task was preempted: it goes back into the queue/);
  // It waits in the queue, and is not submitted once more.
  t.is((await submit(t, node, output)).queued, 1);
  await node.untilEnded(job);
  t.deepEqual(outcomes(output), unbroken, logOf(output));
  t.true(begunMs(output) < signalledMs);
});

slurmTest("a task on a node that goes down is run again on one that is up, to the same bits", async (t, node) => {
  const output = await planned(t, { steps: long });
  unbroken ??= await withoutSlurm(t, output);
  const { job } = await submit(t, node, output);
  await node.until("a trial at work", atWork(output));
  const downMs = Date.now();
  node.slurm("scontrol", "update", "NodeName=localhost", "State=DOWN", "Reason=test");
  await node.until("a requeued task", isPending(node, job));
  await node.until("the node", () => {
    // It may have come back by itself, at this very moment too; then there is nothing to resume.
    if (/down/.test(node.slurm("sinfo", "-h", "-o", "%T"))) {
      try {
        node.slurm("scontrol", "update", "NodeName=localhost", "State=RESUME");
      } catch {
        // Asked again in a moment.
      }
    }
    return /idle/.test(node.slurm("sinfo", "-h", "-o", "%T"));
  });
  await node.untilEnded(job);
  t.deepEqual(outcomes(output), unbroken, logOf(output));
  t.true(begunMs(output) < downMs);
});

slurmTest(
  "at its time limit a task goes on in the queue three times, and is then left to study run",
  async (t, node) => {
    const output = await planned(t, { steps: 1_000_000 });
    // A second after its start less is left than what tells a time limit from a preemption.
    const { job } = await submit(t, node, output, ["--time", "3"]);
    const inLog = (text: string) =>
      existsSync(join(output, "slurm/1/logs/0.log")) ? logOf(output).split(text).length - 1 : 0;
    for (let time = 1; time <= 4; time++) {
      await node.until("a task at work", () => {
        node.hurry(job);
        return inLog("1 run\n") >= time;
      });
      await node.until("its first second", () => node.slurm("squeue", "-h", "-j", job, "-o", "%L").trim() !== "3:00");
      node.slurm("scancel", "--batch", "--signal=USR2", `${job}_0`);
      await node.until("its end", () => inLog("at its time limit") >= time);
    }
    await node.untilEnded(job);
    t.regex(logOf(output), /time limit, time 3 of 3: it goes back into the queue/);
    t.regex(logOf(output), /time limit for the 4th time and is given up/);
    const { stdout } = await study(node, ["status", output]);
    t.regex(stdout, /not finished and not in the queue: plain on tickets, seed 0: job \d+_0 FAILED, .*0\.log/);
    const again = await submit(t, node, output, ["--sbatch=--hold"]);
    t.is(again.trials, 1);
    node.slurm("scancel", again.job);
  },
);

slurmTest("cancel takes a study out of the queue, and saves the states of what runs", async (t, node) => {
  const output = await planned(t, { steps: 1_000_000, seeds: 2 });
  const { job } = await submit(t, node, output, ["--parallel", "1"]);
  await node.until("a trial at work", () => existsSync(join(output, "slurm/1/logs/0.log")) && isTraining(output));
  const { code, stderr } = await study(node, ["cancel", output]);
  t.is(code, 0, stderr);
  t.regex(stderr, /2 tasks cancelled/);
  await node.untilEnded(job);
  t.regex(logOf(output), /this task was cancelled: it does not come back by itself/);
  t.true(atWork(output)());
  t.regex((await study(node, ["status", output])).stdout, /not in the queue: .* CANCELLED/);
  t.regex((await study(node, ["cancel", output])).stderr, /none of its tasks is in the queue/);
  const again = await submit(t, node, output, ["--sbatch=--hold"]);
  t.is(again.trials, 2);
  node.slurm("scancel", again.job);
});

slurmTest("trials that are in the queue twice have one result each", async (t, node) => {
  const output = await planned(t, { seeds: 2 });
  const { job } = await submit(t, node, output);
  const second = node.slurm("sbatch", "--parsable", join(output, "slurm/1/job.sh")).trim();
  await node.untilEnded(job);
  await node.untilEnded(second);
  t.deepEqual(outcomes(output), await withoutSlurm(t, output));
  // Whoever came second waited for the first or found its result: no line tells of another run, with its own time.
  t.is(new Set(logOf(output).match(/^1\/1 .*$/gm)).size, 1, logOf(output));
});

slurmTest("a shell that is killed while it submits leaves a job that is found, or none", async (t, node) => {
  const { folder, file } = writeStudy(t, { base: { steps: short }, seeds: 1, recipes: [{ name: "plain" }] });
  const output = join(folder, "out");
  const bin = join(folder, "bin");
  mkdirSync(bin);
  const real = node.slurm("which", "sbatch").trim();
  writeFileSync(join(bin, "sbatch"), `#!/bin/sh\ntouch "${folder}/called"\nsleep 1\nexec ${real} "$@"\n`, {
    mode: 0o755,
  });
  t.is((await steadytune(["study", "plan", file, "--output", output])).code, 0);

  const killed = await study(node, ["run", output, "--executor", "slurm", "--sbatch=--hold"], {
    env: { PATH: `${bin}${delimiter}${process.env["PATH"]}` },
    onStart: (child) => {
      const wait = setInterval(() => {
        if (!existsSync(join(folder, "called"))) return;
        clearInterval(wait);
        child.kill("SIGKILL");
      }, 20);
    },
  });
  t.is(killed.signal, "SIGKILL");
  await node.until("the job", () => readFileSync(join(output, "slurm/1/job"), "utf8") !== "");
  const again = await submit(t, node, output);
  t.deepEqual([again.job, again.queued], ["none", 1]);

  // The same where nobody lived to write the job's number down.
  writeFileSync(join(output, "slurm/1/job"), "");
  t.is((await submit(t, node, output)).queued, 1);
  t.is((await study(node, ["cancel", output])).code, 0);

  // And where the end came before sbatch was called.
  mkdirSync(join(output, "slurm/2"));
  const last = await submit(t, node, output);
  t.is(last.trials, 1);
  await node.untilEnded(last.job);
  t.is((await status(t, node, output)).done, 1);
});

slurmTest("what Slurm refuses is told with a way out, and leaves nothing behind that counts", async (t, node) => {
  const output = await planned(t);
  const refused = async (flags: string[], message: RegExp): Promise<void> => {
    const { code, stderr } = await study(node, ["run", output, "--executor", "slurm", ...flags]);
    t.is(code, 1, stderr);
    t.regex(stderr, message);
    t.true(existsSync(join(output, "slurm/rejected.sh")));
  };
  await refused(
    ["--partition", "nosuch"],
    /invalid partition specified: nosuch[^]*hint: this cluster's partitions are main/,
  );
  await refused(["--gres", "quantum:1"], /[Ii]nvalid generic resource/);
  await refused(["--memory", "900G"], /not available/);
  await refused(["--sbatch=--no-such-option"], /unrecognized option '--no-such-option'/);
  t.is((await status(t, node, output)).slurm, null);

  const missing = await study(node, ["run", output, "--executor", "slurm"], { env: { PATH: "/nowhere" } });
  t.is(missing.code, 1);
  t.regex(missing.stderr, /no scontrol on PATH[^]*hint: run this on a login node/);
  const silent = await study(node, ["run", output, "--executor", "slurm"], { env: { SLURM_CONF: "/nowhere" } });
  t.is(silent.code, 1);
  t.regex(silent.stderr, /scontrol failed: [^]*hint: `scontrol ping`/);
  const many = await planned(t, { seeds: 5 });
  const array = await study(node, ["run", many, "--executor", "slurm", "--trials-per-task", "1"]);
  t.regex(array.stderr, /more tasks than this cluster takes in an array, which is 4[^]*hint: set trialsPerTask to 2/);
  const { job } = await submit(t, node, output);
  await node.untilEnded(job);
  t.is((await status(t, node, output)).done, 1);
});

slurmTest("the last trial of a stage submits the next one", async (t, node) => {
  const { folder, file } = writeStudy(t, { base: { steps: short }, seeds: 2 });
  const content = JSON.parse(readFileSync(file, "utf8")) as { stages: object[] };
  const last = { name: "best", recipes: [{ name: "chosen", select: { stage: "only" }, steps: 2 * short }], seeds: 1 };
  writeFileSync(file, JSON.stringify({ ...content, stages: [...content.stages, last] }));
  const output = join(folder, "out");
  const { code, stderr } = await study(node, [file, "--output", output, "--executor", "slurm", "--gres", "gpu:1"]);
  t.is(code, 0, stderr);
  await node.until("the last stage", () => existsSync(join(output, "slurm/2/job")));
  await node.until("its end", () => readdirSync(join(output, "trials")).length === 5);
  t.regex(readFileSync(join(output, "slurm/2/job.sh"), "utf8"), /1 trial of the study[^]*--gres=gpu:1/);
  t.is((await status(t, node, output)).done, 5);
});

slurmTest("trials that start from one intermediate task wait in the queue for the first of them", async (t, node) => {
  const folder = temporaryFolder(t);
  const other = join(folder, "other.csv");
  writeFileSync(other, readFileSync(ticketsFile, "utf8").split("\n").slice(0, 80).join("\n"));
  const transfer = { data: other, text: "body", label: "queue", steps: short };
  const output = await planned(t, { base: { transfer }, seeds: 3 });
  const { jobs } = await submit(t, node, output);
  const [first, later] = jobs;
  t.deepEqual([first?.trials, later?.trials, later?.after], [1, 2, [first?.job]]);
  await node.untilEnded(later?.job ?? "");
  const { done, slurm } = await status(t, node, output);
  t.is(done, 3);
  t.is(Object.values(slurm ?? {}).filter(({ state }) => state === "COMPLETED").length, 3);
  t.notRegex(logOf(output, 2), /waiting for/);
});

slurmTest("the study's file can say where it runs, and study FILE then submits and returns", async (t, node) => {
  const { folder, file } = writeStudy(t, { base: { steps: short }, seeds: 1, recipes: [{ name: "plain" }] });
  const content = JSON.parse(readFileSync(file, "utf8")) as object;
  const executor = { name: "slurm", partition: "main", options: ["--hold", "--nice=7"] };
  writeFileSync(file, JSON.stringify({ ...content, executor }));
  const output = join(folder, "out");
  const { code, stdout, stderr } = await study(node, [file, "--output", output, "--json"]);
  t.is(code, 0, stderr);
  const job = (JSON.parse(stdout) as Submitted).jobs[0]?.job ?? "";
  t.regex(node.slurm("scontrol", "-o", "show", "job", job), /Nice=7 .*Partition=main /);
  t.is((await submit(t, node, output)).queued, 1);
  t.regex((await study(node, ["status", output])).stdout, /Slurm: 1 trial in the queue \(1 for JobHeldUser\)/);
  node.slurm("scancel", job);
});

slurmTest("inspect --slurm tells what the cluster has", async (t, node) => {
  const { stdout } = await steadytune(["inspect", "--slurm", "--json"], { env: node.env });
  const { slurm } = JSON.parse(stdout) as { slurm: Cluster };
  t.is(slurm.maxArraySize, 4);
  t.is(slurm.accounting, false);
  t.deepEqual(
    slurm.partitions.map(({ name, available, gres }) => [name, available, gres]),
    [["main", true, "gpu:2"]],
  );
  t.regex(slurm.problems.join(), /3 s to save its state/);
});
