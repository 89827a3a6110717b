import { CommanderError } from "commander";
import { SteadytuneError } from "../errors.js";
import { configSchema } from "../config/schema.js";
import { kebab } from "./config-options.js";
import { InterruptedError } from "./interrupt.js";

/**
 * What the process exits with after this error: 1 failed, 2 usage or config, 3 libtorch or addon, 4 diverged,
 * 130 and 143 interrupted.
 */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof InterruptedError) return error.exitCode;
  if (!(error instanceof SteadytuneError)) return 1;
  switch (error.code) {
    case "ERR_CONFIG":
      return 2;
    case "ERR_PLATFORM":
    case "ERR_LIBTORCH_NOT_FOUND":
    case "ERR_LIBTORCH_VERSION":
    case "ERR_ADDON":
    case "ERR_CUDA_KERNELS":
      return 3;
    case "ERR_DIVERGED":
      return 4;
    case "ERR_ABORTED":
      return 130;
    default:
      return 1;
  }
}

/** The lines that a human reads about an error: what, and what to do about it; where it came from when `verbose`. */
export function describeFailure(error: unknown, { verbose }: { verbose: boolean }): string[] {
  const known = error instanceof SteadytuneError;
  const message = error instanceof Error ? error.message : String(error);
  const hint = known
    ? error.hint
    : "this is a defect of steadytune; --verbose shows where, and steadytune inspect what belongs in a report";
  const lines = [`error: ${known ? message : `unexpected: ${message}`}`];
  if (hint !== undefined) lines.push(`hint: ${hint}`);
  if (verbose) lines.push(...traces(error));
  return lines;
}

/** Commander's own message about a wrong command line, in the form of all others. */
export function describeUsageError(text: string): string {
  const [, message = text.trim(), similar] = /^error: (.*?)(?:\n\(Did you mean (.*?)\?\))?\s*$/s.exec(text) ?? [];
  return [`error: ${message}`, `hint: ${usageHint(message, similar)}`].join("\n") + "\n";
}

function usageHint(message: string, similar: string | undefined): string {
  const flag = /^unknown option '--([^'=]+)/.exec(message)?.[1];
  const nested = flag === undefined ? undefined : nestedKeys.find((key) => kebab(key.split(".").at(-1)!) === flag);
  if (nested !== undefined) return `this key is nested: --set ${nested}=VALUE`;
  return similar === undefined ? "--help after a command lists its flags" : `did you mean ${similar}?`;
}

const nestedKeys = Object.keys(configSchema.properties.optimizer.properties).map((key) => `optimizer.${key}`);

function traces(error: unknown): string[] {
  const lines: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const code = at instanceof SteadytuneError ? ` [${at.code}]` : "";
    lines.push(`${lines.length === 0 ? "" : "caused by "}${at.stack ?? at.message}${code}`);
  }
  return lines;
}
