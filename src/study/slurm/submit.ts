import { existsSync } from "node:fs";
import { chmod, open, readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { SlurmError } from "../../errors.js";
import { makeFolder, writeFileAtomic } from "../../files/atomic.js";
import { lockFile } from "../../files/lock.js";
import { runFiles } from "../../training/run-folder.js";
import { Budget } from "../budget.js";
import { refuseFullDisk } from "../disk.js";
import { studyPaths } from "../folder.js";
import { differentTrials, type Manifest } from "../manifest.js";
import type { Trial } from "../plan.js";
import type { BudgetConfig } from "../schema.js";
import { isFinished, readFailure, readTrialResult } from "../trial.js";
import { said, slurmCommand, slurmOutput } from "./command.js";
import type { SlurmOptions } from "./options.js";
import { trialsInSlurm, type TrialInSlurm } from "./queue.js";
import { batchScript, shellWord } from "./script.js";
import { readSubmissions, submissionFiles } from "./submission.js";

export interface SubmitOptions extends SlurmOptions {
  /** The study's folder, which every node must see under the same name. */
  folder: string;
  /** The trials in question; all of the study when not given. */
  only?: readonly Trial[] | undefined;
  /** How much time the study may take, in the place of what its file says; the array tasks keep to it as well. */
  budget?: BudgetConfig | undefined;
}

export interface Submitted {
  /** The new array jobs; none when there was nothing to submit. */
  jobs: SubmittedJob[];
  /** Trials that an earlier job has in the queue, or is running. */
  queued: number;
  /** Trials that failed before, and are left alone. */
  failed: number;
  /** Trials that were not submitted, since the study's budget is spent. */
  overBudget: number;
}

export interface SubmittedJob {
  job: string;
  trials: number;
  tasks: number;
  script: string;
  /** Jobs that it waits for, since they train an intermediate task that its trials start from. */
  after: string[];
}

/** A task of one short trial spends its time on starting and on loading weights: this long is worth a task. */
const worthwhileSeconds = 300;

/**
 * Submits array jobs for the trials that are neither finished, nor failed before, nor in the queue, and returns without
 * waiting for any. A process killed at any instant leaves a job, or none: whichever it is, the next call finds out.
 *
 * Of trials that share an intermediate task, one goes first and the others are held back by Slurm until it has ended:
 * else they would hold nodes only to wait for it. Nothing is submitted once the study's budget is spent.
 *
 * @throws SlurmError when Slurm cannot be asked or refuses a job; LockedError when another process submits; OutputError
 *   when the disk has too little room.
 */
export async function submitTrials(manifest: Manifest, options: SubmitOptions): Promise<Submitted> {
  const { folder, only = manifest.trials } = options;
  const parent = resolve(studyPaths(folder).slurm);
  await makeFolder(parent);
  await using _lock = await lockFile(join(parent, ".lock"), `${folder} (its submission to Slurm)`);

  const known = (await trialsInSlurm(folder)) ?? new Map<string, TrialInSlurm>();
  const unfinished = differentTrials({ trials: [...only] }).filter((trial) => !isFinished(folder, trial));
  const unqueued = unfinished.filter(({ id }) => known.get(id)?.queued !== true);
  const failures = await Promise.all(unqueued.map((trial) => readFailure(folder, trial)));
  const pending = unqueued.filter((_, i) => failures[i] === null);
  const left = { queued: unfinished.length - unqueued.length, failed: unqueued.length - pending.length };
  const budget = new Budget(options.budget ?? manifest.study.budget ?? null, folder, manifest.trials);
  if (await budget.isSpent()) return { jobs: [], ...left, overBudget: pending.length };

  const { first, free, later, after } = inTurn(pending, differentTrials(manifest), known, folder);
  const jobs: SubmittedJob[] = [];
  const submit = async (trials: readonly Trial[], size: number, after: string[]) => {
    const job = await submitArray(manifest.study.name, trials, { ...options, size, after });
    jobs.push(job);
    return job;
  };
  if (pending.length > 0) {
    const size = await trialsPerTask(pending.length, manifest, options);
    // Without --parallel nobody knows how many tasks the cluster will run side by side.
    const count = Math.min(Math.ceil(pending.length / size), options.parallel ?? 1);
    await refuseFullDisk(folder, pending, { count, flag: "--parallel" });
    if (first.length > 0) after.push((await submit(first, 1, [])).job);
    if (free.length > 0) await submit(free, size, []);
    if (later.length > 0) await submit(later, size, after);
  }
  return { jobs, ...left, overBudget: 0 };
}

/**
 * What is submitted first (a trial for each intermediate task that nobody trains yet), at once, and behind the others;
 * `after` are the jobs in the queue that the last of these wait for.
 */
function inTurn(
  pending: readonly Trial[],
  all: readonly Trial[],
  known: ReadonlyMap<string, TrialInSlurm>,
  folder: string,
): { first: Trial[]; free: Trial[]; later: Trial[]; after: string[] } {
  const needs = ({ fingerprint: { transfer } }: Trial): string | null =>
    transfer === undefined || existsSync(runFiles(join(studyPaths(folder).stages, transfer)).result) ? null : transfer;
  const training = new Map<string, string>();
  for (const trial of all) {
    const [need, task] = [needs(trial), known.get(trial.id)];
    if (need !== null && task?.queued && !training.has(need)) training.set(need, task.job.split("_")[0]!);
  }
  const after = new Set<string>();
  const turns: { first: Trial[]; free: Trial[]; later: Trial[] } = { first: [], free: [], later: [] };
  const begun = new Set<string>();
  for (const trial of pending) {
    const need = needs(trial);
    const job = need === null ? undefined : training.get(need);
    if (job !== undefined) after.add(job);
    if (need === null) turns.free.push(trial);
    else if (job !== undefined || begun.has(need)) turns.later.push(trial);
    else {
      begun.add(need);
      turns.first.push(trial);
    }
  }
  return { ...turns, after: [...after] };
}

async function submitArray(
  name: string,
  trials: readonly Trial[],
  { folder, only: _, size, after, ...slurm }: SubmitOptions & { size: number; after: string[] },
): Promise<SubmittedJob> {
  const parent = resolve(studyPaths(folder).slurm);
  const last = (await readSubmissions(folder)).at(-1)?.number ?? 0;
  const submission = join(parent, String(last + 1));
  const tasks = Array.from({ length: Math.ceil(trials.length / size) }, (_, task) =>
    trials.slice(task * size, (task + 1) * size),
  );
  const script = batchScript({
    ...slurm,
    ...{ name, folder: resolve(folder), submission, tasks: tasks.length, trials: trials.length, after },
    threads: Math.max(...trials.map(({ config }) => config.threads)),
    command: [process.execPath, fileURLToPath(new URL("../../cli.js", import.meta.url))],
  });
  const files = submissionFiles(submission);
  await makeFolder(files.logs);
  await writeFileAtomic(files.tasks, tasks.map((ids) => `${ids.map(({ id }) => id).join(",")}\n`).join(""));
  await writeFileAtomic(join(parent, executorFile), `${JSON.stringify(slurm, null, 2)}\n`);
  await writeFileAtomic(files.script, script);
  await chmod(files.script, 0o755);
  const job = await callSbatch(submission, join(parent, "rejected.sh"));
  return { job, trials: trials.length, tasks: tasks.length, script: files.script, after };
}

/** What the last submission asked for; a later stage is submitted with the same. */
const executorFile = "executor.json";

/**
 * Submits the trials that were planned when those that they wait for had finished, by the last of these and with what it
 * was submitted with itself.
 *
 * @throws SlurmError as `submitTrials` does
 */
export async function submitFollowing(manifest: Manifest, only: readonly Trial[], folder: string): Promise<Submitted> {
  const text = await readFile(join(studyPaths(folder).slurm, executorFile), "utf8");
  return submitTrials(manifest, { ...(JSON.parse(text) as Omit<SubmitOptions, "folder">), folder, only });
}

/** sbatch itself writes the job's number to its file: it does so even where this process is killed meanwhile. */
async function callSbatch(submission: string, rejected: string): Promise<string> {
  const files = submissionFiles(submission);
  const { code, stderr } = await (async () => {
    await using output = await open(files.job, "w");
    return await slurmCommand("sbatch", ["--parsable", files.script], { env: cleanEnv(), outputFile: output.fd });
  })().catch(async (error: unknown) => {
    await rm(submission, { recursive: true, force: true });
    throw error;
  });
  const [job = ""] = (await readFile(files.job, "utf8")).trim().split(";");
  if (code === 0 && job !== "") return job;
  // A submission that never was counts for nothing; its script stays to be looked at.
  await rename(files.script, rejected);
  await rm(submission, { recursive: true, force: true });
  throw new SlurmError(`Slurm refused the job: ${said(stderr) || `sbatch ended with ${code}`}`, {
    hint: `${await hintFor(stderr)}; the script is ${shellWord(rejected)}`,
  });
}

/**
 * The environment without what would overrule the script, or tell sbatch about a job that it is called from: variables
 * of the form SBATCH_X come before lines of the script.
 */
function cleanEnv(): NodeJS.ProcessEnv {
  const kept = new Set(["SLURM_CONF", "SLURM_CLUSTERS", "SLURM_CONF_SERVER", "SLURM_JWT"]);
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(SBATCH|SLURM)_/.test(name) || kept.has(name)),
  );
}

async function hintFor(message: string): Promise<string> {
  if (/partition/i.test(message) && !/account/i.test(message)) {
    const partitions = await slurmCommand("sinfo", ["-h", "-o", "%R"]).catch(() => null);
    const names = partitions?.code === 0 ? [...new Set(partitions.stdout.split("\n").filter(Boolean))] : [];
    if (names.length > 0) return `this cluster's partitions are ${names.join(", ")}`;
  }
  if (/account/i.test(message)) return "`sacctmgr show assoc user=$USER` lists the accounts that you may use";
  if (/limit|QOS/i.test(message)) return "ask for less, or for fewer tasks with a larger trialsPerTask";
  return "steadytune inspect --slurm tells what the cluster has";
}

async function trialsPerTask(
  pending: number,
  manifest: Manifest,
  { folder, parallel, trialsPerTask: wanted }: SubmitOptions,
): Promise<number> {
  const limit = await maxArraySize();
  const fewest = Math.ceil(pending / limit);
  if (wanted !== undefined) {
    if (wanted < fewest) {
      throw new SlurmError(
        `${pending} trials with ${wanted} in each task are more tasks than this cluster takes in an array, which is ${limit}`,
        { hint: `set trialsPerTask to ${fewest} or more, or leave it out` },
      );
    }
    return wanted;
  }
  const seconds = await Promise.all(
    differentTrials(manifest)
      .filter((trial) => isFinished(folder, trial))
      .map(async (trial) => (await readTrialResult(folder, trial)).seconds.total),
  );
  if (seconds.length === 0) return fewest;
  const mean = seconds.reduce((sum, value) => sum + value, 0) / seconds.length;
  // Not so many that some of the tasks that may run side by side have nothing to do.
  const most = parallel === undefined ? pending : Math.ceil(pending / parallel);
  return Math.max(1, fewest, Math.min(most, Math.floor(worthwhileSeconds / mean)));
}

/** How many tasks an array may have. */
async function maxArraySize(): Promise<number> {
  const config = await slurmOutput("scontrol", ["show", "config"]);
  // Indices are below it.
  const size = Number(/^MaxArraySize\s*=\s*(\d+)/m.exec(config)?.[1] ?? 1001);
  if (size >= 2) return size;
  throw new SlurmError("this cluster has array jobs switched off (MaxArraySize is below 2)", {
    hint: "ask those who run it, or train on one node: sbatch --wrap 'steadytune study run ...'",
  });
}
