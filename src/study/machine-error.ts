import type { SteadytuneError } from "../errors.js";

const codes: ReadonlySet<string> = new Set([
  ...["ERR_PLATFORM", "ERR_LIBTORCH_NOT_FOUND", "ERR_LIBTORCH_VERSION", "ERR_ADDON", "ERR_CUDA_KERNELS"],
  "ERR_OUTPUT",
]);

/**
 * Whether an error is the machine's and not a trial's: no libtorch, a full disk. Every other trial would end the same
 * way, and this one is not to blame.
 */
export function isOfTheMachine({ code }: SteadytuneError): boolean {
  return codes.has(code);
}
