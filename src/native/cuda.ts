import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { NativeError } from "../errors.js";
import { torchMinor, type Libtorch } from "./libtorch.js";
import { packageRoot } from "./package-root.js";
import { hasNvidiaGpu } from "./platform.js";

/** What a reader types to compile the CUDA kernels. */
export const cudaCommand = "npm run build:cuda";

/** Where `npm run build:cuda` puts the kernels, and beside them what they were built for. */
const kernelsFolder = "build/cuda";
const kernelsName = "libsteadytune_cuda.so";
const kernelsRecordName = "steadytune-cuda.json";

/** Written beside the kernels when they are built. */
export interface CudaRecord {
  /** Version of steadytune. */
  version: string;
  /** libtorch that they were compiled against, such as "2.15.0". */
  torch: string;
  /** Hash of the operators' schema and of the headers that the kernels of both devices share. */
  operators: string;
}

/** What has to be opened for a GPU, in this order, by absolute path. */
export interface CudaFiles {
  libtorch: string;
  kernels: string;
}

/**
 * The CUDA half of libtorch and the project's kernels, or why `device: cuda` cannot be had: no GPU, a libtorch without
 * CUDA, kernels that are missing or of another version.
 *
 * @param addon what the addon was built as, which the kernels must fit
 */
export function findCuda(
  libtorch: Pick<Libtorch, "root" | "version" | "cuda">,
  { version, operators }: Pick<CudaRecord, "version" | "operators">,
  options: { root?: string; gpu?: boolean } = {},
): CudaFiles | NativeError {
  const { root = packageRoot, gpu = hasNvidiaGpu() } = options;
  if (!gpu) {
    return new NativeError("ERR_CUDA_KERNELS", "This machine shows no NVIDIA GPU to this process.", {
      hint: "Use --device cpu; where there is a GPU, see that /dev/nvidia0 is there and CUDA_VISIBLE_DEVICES does not hide it.",
    });
  }
  if (!libtorch.cuda) {
    return new NativeError(
      "ERR_CUDA_KERNELS",
      `The libtorch in use (${libtorch.root}, ${libtorch.version}) was made without CUDA: it has no lib/libtorch_cuda.so.`,
      {
        hint: "Set LIBTORCH to one with CUDA, or unset it and run `npm run setup`, which fetches one; or use --device cpu.",
      },
    );
  }
  const kernels = join(root, kernelsFolder, kernelsName);
  const hint = `Run \`${cudaCommand}\`, or use --device cpu.`;
  const record = readRecord(join(root, kernelsFolder, kernelsRecordName));
  if (!existsSync(kernels) || record === null) {
    return new NativeError("ERR_CUDA_KERNELS", `The CUDA kernels are not built: there is no ${kernels}.`, { hint });
  }
  if (record.version !== version || torchMinor(record.torch) !== torchMinor(libtorch.version)) {
    const [was, is] = [record, { version, torch: libtorch.version }].map(
      ({ version, torch }) => `steadytune ${version} and libtorch ${torch}`,
    );
    return new NativeError("ERR_CUDA_KERNELS", `The CUDA kernels were built for ${was}, and this is ${is}.`, { hint });
  }
  if (record.operators !== operators) {
    return new NativeError(
      "ERR_CUDA_KERNELS",
      `The CUDA kernels in ${kernels} were built from other sources than the addon.`,
      {
        hint,
      },
    );
  }
  return { libtorch: join(libtorch.root, "lib/libtorch_cuda.so"), kernels };
}

function readRecord(path: string): CudaRecord | null {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as CudaRecord) : null;
}
