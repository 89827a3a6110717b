import { spawn, type StdioOptions } from "node:child_process";
import { SlurmError } from "../../errors.js";

export interface Answered {
  code: number | null;
  stdout: string;
  /** With the programs' own prefix ("sbatch: error: ") taken off every line. */
  stderr: string;
}

export interface CommandOptions {
  env?: NodeJS.ProcessEnv;
  /** A file that gets the output in the place of `stdout`. */
  outputFile?: number;
  signal?: AbortSignal | undefined;
}

/**
 * Runs one of Slurm's programs to its end, whatever that is.
 *
 * @throws SlurmError when there is no such program.
 */
export function slurmCommand(
  program: string,
  args: readonly string[],
  { env = process.env, outputFile, signal }: CommandOptions = {},
): Promise<Answered> {
  const stdio: StdioOptions = ["ignore", outputFile ?? "pipe", "pipe"];
  // Slurm's messages are looked at.
  const child = spawn(program, args, { stdio, env: { ...env, LC_ALL: "C" }, ...(signal && { signal }) });
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once("error", (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === "ENOENT";
      const message = missing
        ? `there is no ${program} on PATH: this is no machine of a Slurm cluster, or Slurm's programs are not loaded`
        : `${program} cannot be started: ${cause.message}`;
      const hint = missing
        ? "run this on a login node of the cluster, or leave out --executor slurm to train on this machine"
        : undefined;
      reject(new SlurmError(message, { cause, ...(hint !== undefined && { hint }) }));
    });
    child.once("close", (code) => {
      const own = new RegExp(`^${program}: (?:error: )?`, "gm");
      resolve({ code, stdout, stderr: stderr.replace(own, "").trim() });
    });
  });
}

/** The same for a program that must succeed. @throws SlurmError with what the program said. */
export async function slurmOutput(program: string, args: readonly string[], options?: CommandOptions): Promise<string> {
  const { code, stdout, stderr } = await slurmCommand(program, args, options);
  if (code === 0) return stdout;
  throw new SlurmError(`${program} failed: ${said(stderr) || `it ended with ${code}`}`, {
    hint: "`scontrol ping` tells whether Slurm's controller answers; without a configuration this is no node of a cluster",
  });
}

/** A program's complaints on one line; what it died of alone, where it says so. */
export function said(stderr: string): string {
  const lines = stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const fatal = lines.filter((line) => line.startsWith("fatal: ")).map((line) => line.slice("fatal: ".length));
  return (fatal.length > 0 ? fatal : lines).join("; ");
}
