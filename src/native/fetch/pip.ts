import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";

import { OutputError } from "../../errors.js";
import { setupCommand } from "../package-root.js";
import type { ReportProgress } from "./progress.js";
import { SourceFailure } from "./source-failure.js";

/**
 * Tags for a wheel of another Python than the reader's: libtorch does not care for Python, but an old or very new
 * python3 may have no wheel of its own.
 */
const namedPlatform = [
  "--only-binary=:all:",
  ...[
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "linux_x86_64",
  ].flatMap((tag) => ["--platform", tag]),
  ...["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312", "--abi", "abi3", "--abi", "none"],
];

/** Throws SourceFailure unless `python3 -m pip` runs. */
export function checkPip(env: NodeJS.ProcessEnv): void {
  const result = spawnSync("python3", ["-m", "pip", "--version"], { env, encoding: "utf8", timeout: 60_000 });
  if (result.error !== undefined && "code" in result.error && result.error.code === "ENOENT") {
    throw new SourceFailure("python3 is not on PATH", "Install Python with pip: `sudo apt-get install python3-pip`.");
  }
  if (result.status !== 0) {
    throw new SourceFailure(
      "python3 has no pip (`python3 -m pip --version` failed)",
      "Install pip: `sudo apt-get install python3-pip` or `python3 -m ensurepip --user`.",
    );
  }
}

/**
 * Downloads wheels with the reader's own pip and settings (index, mirrors, proxies, certificates, wheel folders) and
 * returns their paths. Wheels that stand in `folder` already are kept, so that a download goes on where it stopped,
 * wheel by wheel; within a wheel pip itself (25.1 and later) resumes.
 */
export async function pipDownload(
  requirements: string[],
  options: { folder: string; dependencies: boolean; env: NodeJS.ProcessEnv; report: ReportProgress },
): Promise<string[]> {
  const { folder, dependencies, env, report } = options;
  const args = [
    "download",
    "--no-input",
    "--progress-bar",
    "off",
    ...(dependencies ? [] : ["--no-deps"]),
    ...requirements,
  ];
  const what = requirements.join(" ");
  report({ type: "note", text: `python3 -m pip download ${dependencies ? "" : "--no-deps "}${what}` });
  const own = await runPip([...args, "--only-binary=:all:"], folder, env, report);
  if (own.status === 0) return savedWheels(own.output, folder);
  if (!isMissingWheel(own.output)) throw explain(own, what);
  const named = await runPip([...args, ...namedPlatform], folder, env, report);
  if (named.status === 0) return savedWheels(named.output, folder);
  throw explain(named, what);
}

interface PipRun {
  status: number | null;
  output: string;
  /** Bytes that had arrived when pip ended. */
  received: number;
}

async function runPip(args: string[], folder: string, env: NodeJS.ProcessEnv, report: ReportProgress): Promise<PipRun> {
  // pip downloads into TMPDIR and moves what is complete. A folder of our own puts that on the disk that was checked
  // for space (/tmp is often small), and its growth is the progress.
  const temporary = join(folder, `.pip-${process.pid}`);
  await mkdir(temporary, { recursive: true });
  const child = spawn("python3", ["-m", "pip", ...args, "--dest", folder], {
    env: { PIP_RESUME_RETRIES: "5", PIP_DISABLE_PIP_VERSION_CHECK: "1", ...env, TMPDIR: temporary },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let received = 0;
  let current: { name: string; total: number; before: number } | null = null;
  createInterface({ input: child.stdout }).on("line", (line) => {
    output += `${line}\n`;
    const [, name, number, unit] = /Downloading (?:\S*\/)?([^\s/]+\.whl) \(([\d.]+) ?([kMG]?B)\)/.exec(line) ?? [];
    if (name !== undefined) current = { name, total: Number(number) * (unitBytes[unit ?? ""] ?? 1), before: received };
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  const showProgress = async (): Promise<void> => {
    received = Math.max(received, await bytesUnder(temporary));
    if (current === null) return;
    const { name, total, before } = current;
    report({ type: "bytes", what: name, done: Math.min(received - before, total), total });
  };
  const poll = setInterval(() => void showProgress(), 300);
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    received = Math.max(received, await bytesUnder(temporary));
    return { status, output, received };
  } finally {
    clearInterval(poll);
    await rm(temporary, { recursive: true, force: true });
  }
}

const unitBytes: Record<string, number> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 };

async function bytesUnder(folder: string): Promise<number> {
  let bytes = 0;
  try {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
    }
  } catch {
    // pip moves and deletes files while they are counted.
  }
  return bytes;
}

function savedWheels(output: string, folder: string): string[] {
  const names = [...output.matchAll(/(?:Saved|File was already downloaded) (\S.*\.whl)/g)].map((match) =>
    basename(match[1] ?? ""),
  );
  return [...new Set(names)].map((name) => join(folder, name)).filter((path) => existsSync(path));
}

const networkTrouble =
  /NewConnectionError|NameResolutionError|Temporary failure in name resolution|Name or service not known|ConnectTimeoutError|Connection refused|Network is unreachable|ProxyError|SSLError|CERTIFICATE_VERIFY_FAILED/;
const cutOff =
  /IncompleteRead|incomplete-download|Download failed|Read timed out|ReadTimeoutError|Connection broken|ConnectionResetError|Connection aborted|Wheel '.*' located at .* is invalid/;

function isMissingWheel(output: string): boolean {
  return /No matching distribution found/.test(output) && !networkTrouble.test(output);
}

function explain({ status, output, received }: PipRun, what: string): SourceFailure | OutputError {
  const again = `python3 -m pip download --no-deps ${what}`;
  if (/No space left on device|Disk quota exceeded/.test(output)) {
    return new OutputError("The disk became full while pip downloaded.", {
      hint: `Free space, or choose another disk: \`STEADYTUNE_CACHE=/other/disk ${setupCommand}\`.`,
    });
  }
  if (networkTrouble.test(output)) {
    return new SourceFailure(
      "pip has no way to its package index (network, proxy or certificate)",
      `See what pip says: \`${again}\`. With wheels in a folder: \`PIP_NO_INDEX=1 PIP_FIND_LINKS=/that/folder ${setupCommand}\`.`,
    );
  }
  if (cutOff.test(output)) {
    return new SourceFailure(
      `the download of ${what} was cut off after ${Math.round(received / 1e6)} MB`,
      `Run it again: \`${setupCommand}\` (wheels that are complete are kept).`,
    );
  }
  if (isMissingWheel(output)) {
    const none = /from versions: none/.test(output) ? ", nor of any other version: is there a network?" : "";
    return new SourceFailure(
      `pip knows no wheel of ${what}${none}`,
      `See which ones it knows: \`python3 -m pip index versions torch\`; check \`python3 -m pip config list\`, PIP_INDEX_URL and PIP_FIND_LINKS.`,
    );
  }
  if (/DO NOT MATCH THE HASHES/.test(output)) {
    return new SourceFailure(`${what} arrived damaged (its checksum is wrong)`, `Run it again: \`${setupCommand}\`.`);
  }
  const last =
    output
      .trim()
      .split("\n")
      .filter((line) => line.startsWith("ERROR"))
      .at(-1) ??
    output.trim().split("\n").at(-1) ??
    "";
  return new SourceFailure(
    `pip failed with exit code ${status ?? "none"}: ${last}`,
    `See what pip says: \`${again}\`.`,
  );
}
