import { readdirSync } from "node:fs";

import { NativeError } from "../errors.js";

/** Wheels and prebuilt addons are linked against this version of glibc (manylinux_2_28). */
const oldestGlibc = "2.28";

interface ReportHeader {
  header: { glibcVersionRuntime?: string };
}

/** Throws ERR_PLATFORM anywhere but on Linux x64 with a glibc that libtorch can use. */
export function checkPlatform(): void {
  const hint = "steadytune runs on Linux x64 with glibc 2.28 or newer (Debian 10, Ubuntu 18.10, RHEL 8 and later).";
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new NativeError("ERR_PLATFORM", `steadytune does not run on ${process.platform} ${process.arch}.`, { hint });
  }
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  const before = report.excludeNetwork;
  // Without this the report resolves the name of every open socket, which can take seconds.
  report.excludeNetwork = true;
  const glibc = (report.getReport() as unknown as ReportHeader).header.glibcVersionRuntime;
  report.excludeNetwork = before ?? false;
  if (glibc === undefined) {
    throw new NativeError("ERR_PLATFORM", "This system's C library is not glibc (Alpine uses musl).", { hint });
  }
  if (glibc.localeCompare(oldestGlibc, "en", { numeric: true }) < 0) {
    throw new NativeError("ERR_PLATFORM", `This system's glibc is ${glibc}, and libtorch needs ${oldestGlibc}.`, {
      hint,
    });
  }
}

/** True when an NVIDIA device is visible to this process. */
export function hasNvidiaGpu(env: NodeJS.ProcessEnv = process.env): boolean {
  // Empty, or a number that no device has, hides all of them from CUDA.
  if (/^\s*(-1\b.*)?$/.test(env.CUDA_VISIBLE_DEVICES ?? "0")) return false;
  try {
    return readdirSync("/dev").some((name) => /^nvidia\d+$/.test(name) || name === "dxg");
  } catch {
    return false;
  }
}
