import { statSync } from "node:fs";
import { resolve } from "node:path";
import type { ResolvedConfig, RunConfig } from "../config/schema.js";

/**
 * The run that trains the intermediate task of `config`; null where that has none. It goes on where it was cut off,
 * whoever trains it next. Its `output` is still that of `config`.
 */
export function transferRun(config: ResolvedConfig): ResolvedConfig | null {
  const { transfer, model, revision, device, threads, stateEvery, output } = config;
  if (transfer === undefined) return null;
  const ofTheRun = { model, ...(revision !== undefined && { revision }), device, threads, stateEvery, output };
  return withAbsolutePaths({ ...transfer, ...ofTheRun, resume: true, keep: "best" });
}

/** The same config with absolute names of files, for other processes, whatever their working directory. */
export function withAbsolutePaths<T extends RunConfig>(config: T): T {
  const { model, transfer } = config;
  const local = model !== undefined && statSync(model, { throwIfNoEntry: false })?.isDirectory() === true;
  return {
    ...config,
    ...absoluteData(config),
    ...(local && { model: resolve(model) }),
    ...(transfer && { transfer: { ...transfer, ...absoluteData(transfer) } }),
  };
}

const dataKeys = ["data", "validation", "test"] as const;

function absoluteData(config: Pick<RunConfig, (typeof dataKeys)[number]>): Partial<typeof config> {
  const given = dataKeys.flatMap((key) => (config[key] === undefined ? [] : [[key, resolve(config[key])] as const]));
  return Object.fromEntries(given);
}
