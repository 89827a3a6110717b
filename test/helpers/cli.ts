import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

export interface Outcome {
  /** Null when a signal ended the process. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  /** Text on stdin; nothing when not given. */
  input?: string | Uint8Array;
  /** On top of this process's environment; undefined takes a variable out. */
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** Called with the process as soon as there is one. */
  onStart?: (child: ChildProcess) => void;
  /** Called with the process and all of stderr so far, whenever more has come. */
  onStderr?: (child: ChildProcess, stderr: string) => void;
}

/** Runs the command line in a process of its own, without a terminal. */
export function steadytune(args: readonly string[], options: CliOptions = {}): Promise<Outcome> {
  const env = { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined, ...options.env };
  const child = spawn(process.execPath, [program, ...args], { env, cwd: options.cwd, stdio: "pipe" });
  options.onStart?.(child);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    options.onStderr?.(child, stderr);
  });
  // A process that ends early does not read its input to the end.
  child.stdin.on("error", () => {}).end(options.input ?? "");
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
