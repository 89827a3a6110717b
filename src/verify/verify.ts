import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { DataError } from "../errors.js";
import { makeFolder } from "../files/atomic.js";
import { deviceOf, type DeviceSetting } from "../native/device.js";
import { packageRoot } from "../native/package-root.js";
import type { ComputeDtype, Engine } from "../native/types.js";
import { checkAdamw } from "./check-adamw.js";
import { checkEncoder } from "./check-encoder.js";
import { checkBfloat16File, checkLegacyFile } from "./check-formats.js";
import { checkMinilm } from "./check-minilm.js";
import { checkMixout } from "./check-mixout.js";
import { checkTrajectory, type Trajectories } from "./check-trajectory.js";
import { readReferenceJson } from "./reference.js";
import { Recorder, type Check, type VerifyReport } from "./report.js";

export interface VerifyOptions {
  /** Folder of the weights that `minilm-real` was computed with; without it that part is skipped. */
  model?: string | undefined;
  /** File for every computed tensor, as safetensors, named `<folder>/<key>`. */
  dump?: string | undefined;
  /** 0: one per physical core. */
  threads?: number | undefined;
  /** The form of the model's blocks that is checked; fused unless told. */
  engine?: Engine | undefined;
  /** What the blocks compute in; float32 unless told. bfloat16 is compared with wider tolerances (tolerances.ts). */
  dtype?: ComputeDtype | undefined;
  /** Where the model computes, "cpu" unless told; the optimizer and mixout alone are always checked on the CPU. */
  device?: DeviceSetting | undefined;
  onCheck?: ((check: Check) => void) | undefined;
}

/** Tiny checkpoints with what transformers computes for them. */
const encoders = [
  "bert-classification",
  "bert-regression",
  "roberta-classification",
  "electra-classification",
  "distilbert-classification",
  "xlnet-classification",
  "bart-classification",
];

/** Ships with the package; made by PyTorch and transformers (its README.md says how). */
export const builtInBundle = join(packageRoot, "test/fixtures/golden");

/**
 * Compares this installation's numbers with reference values: the forward and backward pass, the optimizer, whole
 * training runs, and the reading of each kind of checkpoint.
 *
 * @param bundle a folder in the format of the built-in one.
 * @throws DataError when the folder holds no reference values or is not complete.
 */
export async function verify(bundle: string = builtInBundle, options: VerifyOptions = {}): Promise<VerifyReport> {
  const { model, dump, threads = 0, engine = "fused", dtype = "float32", device = "cpu", onCheck = () => {} } = options;
  const how = { threads, engine, dtype, device: deviceOf({ device }) };
  if (!existsSync(bundle)) throw new DataError(`the bundle ${bundle} does not exist`);
  // An output that cannot be written is told before the minutes of work, not after.
  if (dump !== undefined) await makeFolder(dirname(resolve(dump)));
  const record = new Recorder(onCheck);
  const parts: Record<string, (name: string) => Promise<void>> = {
    ...Object.fromEntries(encoders.map((name) => [name, (): Promise<void> => checkEncoder(bundle, name, how, record)])),
    "bert-legacy-bin": (name) => checkLegacyFile(bundle, name, how, record),
    "bert-bf16": (name) => checkBfloat16File(bundle, name, how, record),
    "minilm-real": async (name) =>
      model === undefined
        ? record.skip(name, "its weights are not in the bundle: name their folder by --model")
        : checkMinilm(bundle, name, model, how, record),
    "adamw.json": () => checkAdamw(bundle, record),
    "mixout.safetensors": () => checkMixout(bundle, record),
    "trajectories.json": async () => {
      const shared = await readReferenceJson<Trajectories>(join(bundle, "trajectories.json"));
      for (const run of shared.runs) await checkTrajectory(bundle, shared, run, how, record);
    },
  };
  for (const name of (await readdir(bundle)).sort()) {
    const reason = reasonToSkip(name);
    if (parts[name]) await parts[name](name);
    else if (reason !== null) record.skip(name, reason);
  }
  if (record.checks.length === 0)
    throw new DataError(`${bundle} holds no reference values that this version can check`);
  if (dump !== undefined) await record.tensors.write(dump);
  return record.report;
}

/** Null for files that belong to another part. */
function reasonToSkip(name: string): string | null {
  const family = /^(.+)-(classification|regression)$/.exec(name)?.[1];
  if (family !== undefined) return `${family} models are not supported yet`;
  if (name === "metrics.json" || name === "data") return "not the engine's: the tests of the package compare it";
  return null;
}
