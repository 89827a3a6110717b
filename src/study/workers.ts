import { readFileSync } from "node:fs";
import { availableParallelism, freemem } from "node:os";

export interface Workforce {
  workers: number;
  /** Of each worker. */
  threads: number;
}

/** What a process takes before it has loaded a model. */
const processBytes = 400e6;

/**
 * What training takes per byte of the weights' file: master weights, gradients, two moments and two snapshots, and
 * as much again for activations and for files that store half of the bytes.
 */
const bytesPerWeightByte = 12;

/**
 * How to share a machine among trials: many small runs side by side finish sooner than one with all threads, as far
 * as memory reaches.
 *
 * @param weightBytes size of the largest model's weights on disk
 * @param wanted how many workers there are to be; then only the threads are found
 */
export function shareMachine(
  trials: number,
  weightBytes: number,
  wanted?: number,
  { cores = physicalCores(), freeBytes = freemem() }: { cores?: number; freeBytes?: number } = {},
): Workforce {
  const fitting = Math.floor((0.8 * freeBytes) / (processBytes + bytesPerWeightByte * weightBytes));
  const workers = wanted ?? Math.max(1, Math.min(cores, trials, fitting));
  return { workers, threads: Math.max(1, Math.floor(cores / workers)) };
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
