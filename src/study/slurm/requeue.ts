import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { makeFolder, writeFileAtomic } from "../../files/atomic.js";
import { studyPaths } from "../folder.js";
import { said, slurmCommand, slurmOutput } from "./command.js";

/** How often a task may come back from its time limit: the third time it is likelier to be stuck than to be slow. */
const mostTimeouts = 3;

/**
 * With less than this to go, it was for the time limit that Slurm sent its signal: the 90 s that it was asked for, up to
 * 60 s by which it may be early, and a while for saving.
 */
const timeoutSeconds = 180;

/** The array task that this process is. */
export interface ArrayTask {
  /** As Slurm names it to people: "123_4". */
  name: string;
  /** The number of the job that is this task alone. */
  job: string;
}

/** Null outside of array jobs. */
export function currentTask(env: NodeJS.ProcessEnv = process.env): ArrayTask | null {
  const { SLURM_JOB_ID: job, SLURM_ARRAY_JOB_ID: array, SLURM_ARRAY_TASK_ID: task } = env;
  return job && array && task ? { name: `${array}_${task}`, job } : null;
}

/**
 * Puts this task back into the queue after a signal, once the states of its trials are saved: for as often as it was
 * preempted, three times at its time limit. Not when somebody cancelled it, and not when Slurm has done so already.
 *
 * @param say gets a line about what is done, for the task's log, before Slurm is asked to do it: what is requeued is
 *   killed at once.
 * @throws SlurmError when Slurm does not answer
 */
export async function requeue(task: ArrayTask, study: string, say: (line: string) => void): Promise<void> {
  const output = await slurmOutput("squeue", ["-h", "-r", "-t", "all", "-j", task.job, "-o", "%i|%T|%L|%r"]);
  const own = output.split("\n").find((line) => line.startsWith(`${task.name}|`));
  const [, state = "", left = "", reason = ""] = own?.split("|") ?? [];
  if (state === "PENDING") return say("Slurm has put this task back into the queue");
  // Slurm says COMPLETING of a task that scancel or a time limit is ending, and gives a reason for the latter alone.
  if (state !== "RUNNING" && reason !== "TimeLimit") {
    return say("this task was cancelled: it does not come back by itself");
  }
  let why = "this task was preempted";
  if (reason === "TimeLimit" || secondsOf(left) < timeoutSeconds) {
    const timeouts = await countTimeout(task, study);
    if (timeouts > mostTimeouts) {
      const told = `this task is at its time limit for the ${timeouts}th time and is given up`;
      return say(`${told}; \`study run\` submits it again`);
    }
    why = `this task is at its time limit, time ${timeouts} of ${mostTimeouts}`;
  }
  say(`${why}: it goes back into the queue`);
  const { code, stderr } = await slurmCommand("scontrol", ["requeue", task.name]);
  // Pending: it went by itself, in the moments since it was asked.
  if (code !== 0 && !/pending/i.test(stderr)) say(`Slurm refuses to requeue it: ${said(stderr)}`);
}

async function countTimeout({ name }: ArrayTask, study: string): Promise<number> {
  const folder = join(resolve(studyPaths(study).slurm), "timeouts");
  const path = join(folder, name);
  const before = Number(await readFile(path, "utf8").catch(() => "0"));
  await makeFolder(folder);
  await writeFileAtomic(path, `${before + 1}\n`);
  return before + 1;
}

/** Of squeue's "1-02:03:04", "02:03" and the like; Infinity where there is no limit ("UNLIMITED", "NOT_SET"). */
export function secondsOf(left: string): number {
  const [, days = "0", clock] = /^(?:(\d+)-)?([\d:]+)$/.exec(left) ?? [];
  if (clock === undefined) return left === "INVALID" ? 0 : Infinity;
  const seconds = clock.split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
  return Number(days) * 86_400 + seconds;
}
