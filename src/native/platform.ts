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

/**
 * The NVIDIA GPUs that this process may use, each as CUDA_VISIBLE_DEVICES takes it: by number, or as that variable
 * itself names them.
 *
 * @param count how many the machine shows
 */
export function visibleGpus(env: NodeJS.ProcessEnv = process.env, count = countGpus()): string[] {
  const numbers = Array.from({ length: count }, (_, number) => `${number}`);
  const names = env.CUDA_VISIBLE_DEVICES?.split(",").map((name) => name.trim());
  if (names === undefined || count === 0) return numbers;
  // CUDA reads up to the first name that no device has; names of other kinds (UUIDs, MIG) it alone can tell.
  const end = names.findIndex((name) => name === "" || (/^-?\d+$/.test(name) && !numbers.includes(name)));
  return end < 0 ? names : names.slice(0, end);
}

function countGpus(): number {
  try {
    const devices = readdirSync("/dev");
    // Windows' Linux shows its GPUs, however many, by one device.
    return devices.includes("dxg") ? 1 : devices.filter((name) => /^nvidia\d+$/.test(name)).length;
  } catch {
    return 0;
  }
}

/** True when an NVIDIA device is visible to this process. */
export function hasNvidiaGpu(): boolean {
  return visibleGpus().length > 0;
}
