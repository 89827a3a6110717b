import { spawn, spawnSync } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

/** The folder of package.json. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Runs a program with its output on this terminal, stdout included on stderr: set-up is for people to read.
 * Resolves to its exit code, 128 + n where signal n ended it.
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", 2, 2], ...options });
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}

/** Standard output of a short command, or null when it is missing or fails. */
export function outputOf(command, args, env = process.env) {
  const result = spawnSync(command, args, { env, encoding: "utf8", timeout: 60_000 });
  return result.status === 0 ? result.stdout.trim() : null;
}
