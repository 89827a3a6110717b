import { SlurmError } from "../../errors.js";
import { slurmCommand, slurmOutput } from "./command.js";
import { logOfTask, readSubmissions, type Submission } from "./submission.js";

/** What Slurm knows of the task that a trial was given to. */
export interface TrialInSlurm {
  /** "123_4", as scancel and sacct take it. */
  job: string;
  /** True while the task waits or runs; it may still be that its trials have long been done. */
  queued: boolean;
  /** Slurm's word: PENDING, RUNNING, TIMEOUT, ...; "UNKNOWN" when Slurm has forgotten it, which says nothing of success. */
  state: string;
  /** Why it waits or ended, where Slurm says so ("Priority", "TimeLimit"). */
  reason: string | null;
  log: string;
}

/** States of jobs that have ended. Everything else, known or not, may still run. */
const ended = new Set(
  "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT".split(" "),
);

/**
 * What the queue, and the accounting where there is one, say of a study's trials, by id. Of several submissions with the
 * same trial, one that is still queued counts; else the last one.
 *
 * @returns null where the study was never submitted to Slurm; then Slurm is not asked.
 * @throws SlurmError when the queue cannot be read.
 */
export async function trialsInSlurm(study: string): Promise<Map<string, TrialInSlurm> | null> {
  const submissions = await readSubmissions(study);
  if (submissions.length === 0) return null;
  const queue = await readQueue();
  const jobs = submissions.map((submission) => jobsOf(submission, queue));
  const accounts = await readAccounting(jobs.flat().filter((job) => !queue.some((entry) => entry.job === job)));

  const trials = new Map<string, TrialInSlurm>();
  submissions.forEach((submission, i) => {
    for (const job of jobs[i]!) {
      submission.tasks.forEach((ids, task) => {
        const entry = queue.find((one) => one.job === job && one.task === task);
        const state = entry?.state ?? accounts.get(`${job}_${task}`) ?? "UNKNOWN";
        const queued = entry !== undefined && isQueued(entry);
        const found = { job: `${job}_${task}`, queued, state, reason: entry?.reason ?? null };
        for (const id of ids) {
          if (trials.get(id)?.queued === true && !queued) continue;
          trials.set(id, { ...found, log: logOfTask(submission, task) });
        }
      });
    }
  });
  return trials;
}

/**
 * All of a study's tasks that wait or run ("123_4"), also several with the same trials.
 *
 * @throws SlurmError when the queue cannot be read; Slurm is not asked where the study was never submitted to it.
 */
export async function tasksInQueue(study: string): Promise<string[]> {
  const submissions = await readSubmissions(study);
  if (submissions.length === 0) return [];
  const queue = await readQueue();
  const jobs = new Set(submissions.flatMap((submission) => jobsOf(submission, queue)));
  return queue.filter((entry) => jobs.has(entry.job) && isQueued(entry)).map(({ job, task }) => `${job}_${task}`);
}

function isQueued({ state }: QueueEntry): boolean {
  return !ended.has(state);
}

interface QueueEntry {
  job: string;
  task: number | null;
  state: string;
  reason: string | null;
  comment: string;
}

/**
 * This user's jobs, also those that ended a while ago (MinJobAge). Not by their numbers: squeue treats one number that
 * it has forgotten as an error.
 */
async function readQueue(): Promise<QueueEntry[]> {
  const output = await slurmOutput("squeue", ["-h", "-r", "--me", "-t", "all", "-o", "%F|%K|%T|%r|%k"]);
  return output
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [job = "", task = "", state = "", reason = "", ...comment] = line.split("|");
      return {
        job,
        task: /^\d+$/.test(task) ? Number(task) : null,
        state,
        reason: reason === "None" || reason === "" ? null : reason,
        comment: comment.join("|"),
      };
    });
}

/**
 * By its number, and by its comment: whoever submitted it may have been killed before the number was written down, and
 * somebody may have given the script to sbatch once more. None where sbatch refused it, or was never called.
 */
function jobsOf({ job, folder }: Submission, queue: readonly QueueEntry[]): string[] {
  const byComment = queue.filter(({ comment }) => comment === folder).map((entry) => entry.job);
  return [...new Set([...(job === null ? [] : [job]), ...byComment])];
}

/** End states by "job_task"; empty where the cluster keeps no accounts. */
async function readAccounting(jobs: readonly string[]): Promise<Map<string, string>> {
  if (jobs.length === 0) return new Map();
  const args = ["-n", "-P", "-X", "-j", jobs.join(","), "-o", "JobID,State"];
  const { code, stdout } = await slurmCommand("sacct", args).catch((error: unknown) => {
    if (error instanceof SlurmError) return { code: null, stdout: "" };
    throw error;
  });
  if (code !== 0) return new Map();
  const lines = stdout.split("\n").filter((line) => line !== "");
  return new Map(
    lines.map((line) => {
      const [job = "", state = ""] = line.split("|");
      // "CANCELLED by 1000"
      return [job, state.split(" ")[0] ?? ""];
    }),
  );
}
