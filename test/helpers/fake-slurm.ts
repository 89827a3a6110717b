import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { ExecutionContext } from "ava";
import { temporaryFolder } from "./temporary-folder.js";

/** Programs that answer as Slurm's do, for what needs no cluster: jobs get numbers from 101 and never run. */
export interface FakeSlurm {
  env: Record<string, string>;
  /** What squeue prints, a line for each task: "job|task|STATE|reason|comment". */
  queue(lines: readonly string[]): void;
  /** What sacct prints: "job_task|STATE"; without a call the cluster keeps no accounts. */
  accounts(lines: readonly string[]): void;
  /** What a program was called with, a line for each call. */
  calls(program: "sbatch" | "scancel"): string[];
}

export function fakeSlurm(t: ExecutionContext): FakeSlurm {
  const folder = temporaryFolder(t);
  const bin = join(folder, "bin");
  mkdirSync(bin);
  const programs = {
    sbatch: `echo "$@" >> "${folder}/sbatch"; echo $((100 + $(wc -l < "${folder}/sbatch")))`,
    scancel: `echo "$@" >> "${folder}/scancel"`,
    squeue: `cat "${folder}/queue"`,
    scontrol: 'echo "MaxArraySize = 1001"',
    sacct: `cat "${folder}/accounts" 2>/dev/null`,
  };
  for (const [name, body] of Object.entries(programs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  }
  const answer = (name: string) => (lines: readonly string[]) =>
    writeFileSync(join(folder, name), lines.map((line) => `${line}\n`).join(""));
  const queue = answer("queue");
  queue([]);
  return {
    env: { PATH: `${bin}${delimiter}${process.env["PATH"]}` },
    queue,
    accounts: answer("accounts"),
    calls: (program) =>
      existsSync(join(folder, program)) ? readFileSync(join(folder, program), "utf8").trimEnd().split("\n") : [],
  };
}
