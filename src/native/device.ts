import { cudaProblem } from "./load.js";
import { hasNvidiaGpu } from "./platform.js";
import type { SessionOptions } from "./types.js";

export type DeviceSetting = "auto" | "cpu" | "cuda";

/**
 * Where a session computes. "auto" is the GPU where there is one that works, else the CPU.
 *
 * @throws NativeError (ERR_CUDA_KERNELS) where "cuda" is asked for and cannot be had.
 */
export function deviceOf({ device }: { device: DeviceSetting }): SessionOptions["device"] {
  if (device === "cpu") return "cpu";
  const problem = cudaProblem();
  if (problem === null) return "cuda";
  if (device === "cuda") throw problem;
  return "cpu";
}

/** What a person should be told about "auto": that this machine has a GPU and why it stands idle. Null otherwise. */
export function deviceNote({ device }: { device: DeviceSetting }): string | null {
  if (device !== "auto" || !hasNvidiaGpu()) return null;
  const problem = cudaProblem();
  return problem && `Computing on the CPU although there is a GPU: ${problem.message} ${problem.hint ?? ""}`.trim();
}
