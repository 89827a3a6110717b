import { readFileSync } from "node:fs";
import { availableParallelism, freemem } from "node:os";
import { ConfigError } from "../errors.js";
import { deviceOf } from "../native/device.js";
import { visibleGpus } from "../native/platform.js";
import { modelBytes } from "../training/fingerprint.js";
import type { Trial } from "./plan.js";

/** What a process takes before it has loaded a model. */
const processBytes = 400e6;

/**
 * What training takes per byte of the weights' file: master weights, gradients, two moments and two snapshots, and
 * as much again for activations and for files that store half of the bytes.
 */
const bytesPerWeightByte = 12;

/** What runs the trials of a study on this machine. */
export interface Workers {
  /** Processes side by side. */
  count: number;
  /** GPUs that they take in turn, as CUDA_VISIBLE_DEVICES names them; none where all compute on the CPU. */
  gpus: readonly string[];
}

/**
 * How many of these trials to run side by side: one per GPU; on the CPU as many as cores and memory allow, by the
 * largest model and the most threads among them.
 *
 * @param wanted how many the user asks for
 * @throws ConfigError where that is no number of workers; NativeError (ERR_CUDA_KERNELS) where a trial is to run on a GPU that cannot be had
 */
export async function workersFor(trials: readonly Pick<Trial, "config">[], wanted?: number): Promise<Workers> {
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted > 0)) {
    throw new ConfigError(`the number of workers must be a whole number over 0, but is ${wanted}`);
  }
  const visible = visibleGpus();
  const gpus = visible.length > 0 && trials.some(({ config }) => deviceOf(config) === "cuda") ? visible : [];
  if (wanted !== undefined || trials.length === 0) return { count: wanted ?? 1, gpus };
  if (gpus.length > 0) return { count: Math.min(gpus.length, trials.length), gpus };
  const models = new Map(trials.map(({ config }) => [JSON.stringify([config.model, config.revision]), config]));
  // A model that is not there fails its own trials.
  const sizes = [...models.values()].map((config) => modelBytes(config).catch(() => 0));
  const weightBytes = Math.max(...(await Promise.all(sizes)));
  const threads = Math.max(...trials.map(({ config }) => config.threads));
  return { count: shareMachine({ trials: trials.length, weightBytes, threads }), gpus };
}

/** @param weightBytes size of the largest model's files */
export function shareMachine(
  { trials, weightBytes, threads }: { trials: number; weightBytes: number; threads: number },
  { cores = physicalCores(), freeBytes = freemem() }: { cores?: number; freeBytes?: number } = {},
): number {
  const fitting = Math.floor((0.8 * freeBytes) / (processBytes + bytesPerWeightByte * weightBytes));
  return Math.max(1, Math.min(Math.floor(cores / threads), trials, fitting));
}

/** Cores, not hardware threads, that this process may use. */
export function physicalCores(): number {
  const usable = availableParallelism();
  try {
    const processors = readFileSync("/proc/cpuinfo", "utf8").split("\n\n");
    const field = (text: string, name: string): string | undefined =>
      new RegExp(`^${name}\\s*: (.*)$`, "m").exec(text)?.[1];
    const cores = new Set(processors.map((text) => `${field(text, "physical id")} ${field(text, "core id")}`));
    cores.delete("undefined undefined");
    return cores.size === 0 ? usable : Math.min(usable, cores.size);
  } catch {
    return usable;
  }
}
