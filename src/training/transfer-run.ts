import { statSync } from "node:fs";
import { resolve } from "node:path";
import type { ResolvedConfig } from "../config/schema.js";

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
export function withAbsolutePaths(config: ResolvedConfig): ResolvedConfig {
  const { model, transfer } = config;
  const local = statSync(model, { throwIfNoEntry: false })?.isDirectory() === true;
  return {
    ...config,
    ...absoluteData(config),
    model: local ? resolve(model) : model,
    ...(transfer && { transfer: { ...transfer, ...absoluteData(transfer) } }),
  };
}

type DataPaths = Pick<ResolvedConfig, "data" | "validation" | "test">;

function absoluteData({ data, validation, test }: DataPaths): DataPaths {
  return {
    data: resolve(data),
    ...(validation !== undefined && { validation: resolve(validation) }),
    ...(test !== undefined && { test: resolve(test) }),
  };
}
