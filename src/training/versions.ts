import { createRequire } from "node:module";
import { loadAddon } from "../native/load.js";
import { requireLibtorch } from "../native/libtorch.js";
import type { SessionOptions } from "../native/types.js";
import type { Versions } from "./result.js";

/** Raised with every change of the code after which a run with the same seeds has other bits. */
export const numerics = 6;

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

/** What a run is planned with, known before anything is loaded. */
export function codeVersions(): Pick<Versions, "steadytune" | "torch"> {
  return { steadytune: version, torch: requireLibtorch().version };
}

/** What ran: everything on which the last bits of a result can depend. */
export function versionsOf({ threads, device, dtype }: SessionOptions): Versions {
  return {
    steadytune: version,
    numerics,
    node: process.versions.node,
    torch: requireLibtorch().version,
    instructionSet: loadAddon().info().instructionSet,
    threads,
    device,
    ...(device === "cuda" && { gpu: loadAddon().info().gpus[0]!.name }),
    dtype,
  };
}
