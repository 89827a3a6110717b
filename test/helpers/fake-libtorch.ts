import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { writeZip } from "./zip-file.js";

/** The files by which a libtorch is known, with content that nobody could load. */
export function libtorchFiles(version: string): Record<string, string> {
  return {
    "lib/libtorch_cpu.so": `libtorch_cpu of ${version}`,
    "lib/libc10.so": `libc10 of ${version}`,
    "include/ATen/ATen.h": "#pragma once\n",
    "version.py": `__version__ = '${version}+cu132'\ndebug = False\n`,
  };
}

/** Makes a folder that looks like a libtorch, and returns it. */
export function makeLibtorch(folder: string, version: string): string {
  writeTree(folder, libtorchFiles(version));
  return folder;
}

export function writeTree(folder: string, files: Record<string, string>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
}

/** Writes a wheel with a correct RECORD, and returns its path. `record` may falsify RECORD's checksums. */
export function writeWheel(
  folder: string,
  name: string,
  version: string,
  files: Record<string, string>,
  options: { requires?: string[]; checksum?: (name: string, content: string) => string } = {},
): string {
  const info = `${name}-${version}.dist-info`;
  const requires = (options.requires ?? []).map((line) => {
    const extra = /extra == ["'](.*)["']/.exec(line)?.[1];
    return `${extra === undefined ? "" : `Provides-Extra: ${extra}\n`}Requires-Dist: ${line}\n`;
  });
  const all: Record<string, string> = {
    ...files,
    [`${info}/METADATA`]: `Metadata-Version: 2.1\nName: ${name.replaceAll("_", "-")}\nVersion: ${version}\n${requires.join("")}\nA text.\n`,
    [`${info}/WHEEL`]: "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
  };
  const checksum = options.checksum ?? ((_name: string, content: string) => sha256(content));
  const record = Object.entries(all).map(
    ([file, content]) => `${file},sha256=${checksum(file, content)},${content.length}\n`,
  );
  const path = join(folder, `${name}-${version}-py3-none-any.whl`);
  mkdirSync(folder, { recursive: true });
  writeZip(path, { ...all, [`${info}/RECORD`]: `${record.join("")}${info}/RECORD,,\n` });
  return path;
}

/** The wheels that pip would deliver for torch 2.15.0: torch itself, CUDA's meta package, and two of its wheels. */
export function writeTorchWheels(folder: string): void {
  const files = Object.fromEntries(
    Object.entries({
      ...libtorchFiles("2.15.0"),
      "lib/libtorch_cuda.so": "for a GPU",
      "lib/libtorch_python.so": "for Python",
      "include/torch/torch.h": "#pragma once\n",
      "nn/__init__.py": "",
    }).map(([name, content]) => [`torch/${name}`, content]),
  );
  writeWheel(folder, "torch", "2.15.0", files, {
    requires: [
      "sympy>=1.13.3",
      'cuda-toolkit[cublas,cudart,cupti]==13.2.2; platform_system == "Linux"',
      'nvidia-nccl-cu13==2.30.7; platform_system == "Linux"',
      'triton~=3.9.0; platform_system == "Linux"',
      'opt-einsum>=3.3; extra == "opt-einsum"',
    ],
  });
  const toolkit = {
    cudart: "nvidia-cuda-runtime==13.2.86.*",
    cupti: "nvidia-cuda-cupti==13.2.86.*",
    cublas: "nvidia-cublas==13.4.1.*",
  };
  writeWheel(
    folder,
    "cuda_toolkit",
    "13.2.2",
    {},
    {
      requires: Object.entries(toolkit).map(([extra, requirement]) => `${requirement}; extra == '${extra}'`),
    },
  );
  writeWheel(folder, "nvidia_cuda_runtime", "13.2.86", {
    "nvidia/cu13/lib/libcudart.so.13": "cudart",
    "nvidia/cu13/include/cuda.h": "",
  });
  writeWheel(folder, "nvidia_cuda_cupti", "13.2.86", { "nvidia/cu13/lib/libcupti.so.13": "cupti" });
  writeWheel(folder, "nvidia_cublas", "13.4.1", { "nvidia/cu13/lib/libcublas.so.13": "cublas" });
  writeWheel(folder, "nvidia_nccl_cu13", "2.30.7", { "nvidia/nccl/lib/libnccl.so.2": "nccl" });
}

function sha256(content: string): string {
  return createHash("sha256").update(content).digest("base64url");
}
