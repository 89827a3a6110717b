import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";

const script = fileURLToPath(new URL("../../scripts/slurm/one-node.mjs", import.meta.url));

/** A Slurm of one node for a test's file, with 4 CPUs and a partition "main". */
export interface OneNode {
  /** For processes that are to find it. */
  env: { SLURM_CONF: string };
  /** What a program of Slurm prints. */
  slurm(program: string, ...args: string[]): string;
  /** Waits until no task of the array job waits or runs; without the two minutes that Slurm lets a requeued one wait. */
  untilEnded(job: string): Promise<void>;
  /** Lets requeued tasks start now. */
  hurry(job: string): void;
  /** Waits for something that is looked for every moment. */
  until(what: string, holds: () => boolean): Promise<void>;
  stop(): Promise<void>;
}

const waitMs = 150_000;
/** The node refuses a job that comes back in the second in which it was killed, and Slurm then calls it failed. */
const requeuedMs = 2_000;

/** @returns null, after a word to `skip`, where there is no Slurm to start. */
export async function startSlurm(
  skip: (reason: string) => void,
  args: readonly string[] = [],
): Promise<OneNode | null> {
  const { missingPrograms } = (await import(script)) as { missingPrograms: () => string[] };
  const missing = missingPrograms();
  if (missing.length > 0) {
    skip(`skipped: no ${missing.join(", ")} here (scripts/slurm/install.sh installs Slurm)`);
    return null;
  }
  // It stops when its stdin ends, also where this process is killed.
  const child = spawn(process.execPath, [script, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  const gone = once(child, "exit");
  const ready = await Promise.race([once(child.stdout, "data"), gone]);
  if (!Buffer.isBuffer(ready[0])) throw new Error("Slurm could not be started; the reason stands above");
  const { conf } = JSON.parse(ready[0].toString()) as { conf: string };
  const env = { SLURM_CONF: conf };

  const slurm = (program: string, ...args: string[]): string =>
    execFileSync(program, args, { env: { ...process.env, ...env }, encoding: "utf8" });
  const tasks = (job: string): string[][] =>
    slurm("squeue", "-h", "-r", "--me", "-o", "%F|%K|%T|%r|%A")
      .split("\n")
      .map((line) => line.split("|"))
      .filter(([array]) => array === job);
  /** Since when each task waits. */
  const waiting = new Map<string, number>();
  const hurry = (job: string): void => {
    for (const [, , state, reason, own = ""] of tasks(job)) {
      if (state !== "PENDING" || reason !== "BeginTime") {
        waiting.delete(own);
        continue;
      }
      const sinceMs = waiting.get(own) ?? performance.now();
      waiting.set(own, sinceMs);
      if (performance.now() - sinceMs < requeuedMs) continue;
      try {
        slurm("scontrol", "update", `JobId=${own}`, "StartTime=now");
      } catch {
        // Slurm has not yet cleared away what the task left behind.
      }
    }
  };
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    const end = performance.now() + waitMs;
    while (!holds()) {
      if (performance.now() > end) {
        const queue = slurm("squeue", "-t", "all", "-o", "%i %T %r %S %L");
        throw new Error(`not within ${waitMs / 1000} s: ${what}; the queue is\n${queue}`);
      }
      await sleep(200);
    }
  };
  return {
    env,
    slurm,
    hurry,
    until,
    async untilEnded(job) {
      await until(`the end of job ${job}`, () => {
        hurry(job);
        return tasks(job).length === 0;
      });
    },
    async stop() {
      child.stdin.end();
      await gone;
    },
  };
}
