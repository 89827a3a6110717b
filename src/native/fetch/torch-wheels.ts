import { rm } from "node:fs/promises";

import { ZipError } from "../../files/zip-directory.js";

import type { FetchContext } from "./fetch-context.js";
import { checkPip, pipDownload } from "./pip.js";
import { SourceFailure } from "./source-failure.js";
import { unpackAll } from "./unpack.js";
import { openWheel, unpackFromWheel, type Wheel } from "./wheel.js";

/** Fetches the wheel of torch and the CUDA wheels that its metadata names, and unpacks what steadytune needs. */
export async function fetchWheels(context: FetchContext): Promise<{ root: string; used: string[] }> {
  const { version, cuda, env, report, downloads: folder } = context;
  checkPip(env);
  const torch = await openAll(await pipDownload([`torch==${version}`], { folder, dependencies: false, env, report }));
  const requirements = cudaRequirements(
    torch.flatMap((wheel) => wheel.requirements),
    cuda,
  );
  const others =
    requirements.length === 0
      ? []
      : await openAll(await pipDownload(requirements, { folder, dependencies: true, env, report }));

  const wheels = [...torch, ...others];
  try {
    const work = wheels.flatMap((wheel) =>
      wheel.archive.entries
        .filter(({ name }) => isNeeded(name, cuda))
        .map((entry) => ({
          entry,
          extract: (target: string, onBytes: (bytes: number) => void) =>
            orDelete(wheel.archive.path, unpackFromWheel(wheel, entry, target, onBytes)),
        })),
    );
    await unpackAll(context, work);
  } finally {
    await Promise.all(wheels.map(({ archive }) => archive.close()));
  }
  return { root: "torch", used: wheels.map(({ archive }) => archive.path) };
}

async function openAll(paths: string[]): Promise<Wheel[]> {
  if (paths.length === 0)
    throw new SourceFailure("pip reported success but saved no wheel", "See `python3 -m pip config list`.");
  return Promise.all(paths.map((path) => orDelete(path, openWheel(path))));
}

/** A damaged wheel must not be found "already downloaded" the next time. */
async function orDelete<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof ZipError) await rm(path, { force: true });
    throw error;
  }
}

/**
 * Requirements of torch's wheel that hold shared libraries. `libtorch_cpu.so` of a CUDA build needs libcudart and
 * libcupti even where there is no GPU; everything else is for `libtorch_cuda.so`. A CPU build names none.
 */
export function cudaRequirements(requirements: string[], cuda: boolean): string[] {
  return requirements.flatMap((requirement) => {
    const [specifier = "", marker = ""] = requirement.split(";", 2);
    if (/\bextra\b/.test(marker)) return [];
    const match = /^\s*([\w.-]+)\s*(?:\[([^\]]*)\])?\s*\(?([^()]*)\)?\s*$/.exec(specifier);
    const [, name = "", extras = "", range = ""] = match ?? [];
    if (name === "cuda-toolkit") {
      const wanted = extras
        .split(",")
        .map((extra) => extra.trim())
        .filter((extra) => cuda || extra === "cudart" || extra === "cupti");
      return wanted.length === 0 ? [] : [`cuda-toolkit[${wanted.join(",")}]${range.trim()}`];
    }
    const needed = cuda ? /^nvidia-/.test(name) : /^nvidia-cuda-(runtime|cupti)\b/.test(name);
    return needed ? [`${name}${range.trim()}`] : [];
  });
}

/** Libraries that only Python or only a GPU needs. */
const pythonOnly = /^torch\/lib\/(libtorch_python|libshm)\b/;
const cudaOnly = /^torch\/lib\/(libtorch|libtorch_cuda\w*|libc10_cuda|libtorch_nvshmem|libcaffe2_nvrtc)\.so$/;

/** Libraries, headers and version of a wheel; tools, Python code and static libraries are left out. */
export function isNeeded(name: string, cuda: boolean): boolean {
  if (name === "torch/version.py" || name.startsWith("torch/include/")) return true;
  if (!/\.so(\.\d+)*$/.test(name) || pythonOnly.test(name)) return false;
  if (/^torch\/lib\/[^/]+$/.test(name)) return cuda || !cudaOnly.test(name);
  // auditwheel puts a wheel's private libraries here.
  if (name.startsWith("torch.libs/")) return true;
  return /^nvidia\/.*\/lib\/[^/]+$/.test(name) && (cuda || /\/lib(cudart|cupti)\.so/.test(name));
}
