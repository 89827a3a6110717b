import { availableParallelism, cpus, freemem, homedir, release, totalmem } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { SteadytuneError } from "../errors.js";
import type { Cluster } from "../study/slurm/cluster.js";
import { bytes, count } from "./format.js";
import { outputColors, type Colors } from "./terminal.js";
import { packageVersion } from "./version.js";
import { addExamples, print, printJson, type CommonOptions } from "./verb.js";

export function define(command: Command): void {
  command
    .description(
      "Prints what this installation is made of: versions, the libtorch in use and why others were passed over, " +
        "devices, threads, instruction set, cache folders. Exits with 3 when libtorch or the addon does not load.",
    )
    .option("--slurm", "also what the Slurm cluster has of what studies need")
    .action(inspect);
  addExamples(command, [
    ["The first page of a bug report", "steadytune inspect"],
    ["On a login node, before the first study", "steadytune inspect --slurm"],
  ]);
}

interface Problem {
  code: string;
  message: string;
  hint?: string;
}

async function inspect(options: CommonOptions & { slurm?: boolean }): Promise<void> {
  const inspection = await inspectInstallation();
  const slurm = options.slurm ? await inspectSlurm() : undefined;
  const colors = outputColors();
  if (options.json) printJson({ ...inspection, ...(slurm !== undefined && { slurm }) });
  else {
    print(describe(inspection, colors));
    if (slurm !== undefined) print(`\n${describeSlurm(slurm, colors)}`);
  }
  if (slurm !== undefined && "problem" in slurm) process.exitCode = 1;
  if (inspection.problem !== null) process.exitCode = 3;
}

type Inspection = Awaited<ReturnType<typeof inspectInstallation>>;

async function inspectInstallation() {
  const [{ findLibtorch, libtorchCache }, { cudaProblem, loadAddon, listAddons }] = await Promise.all([
    import("../native/libtorch.js"),
    import("../native/load.js"),
  ]);
  const { chosen, candidates } = findLibtorch();
  let addon = null;
  let cuda: Problem | null = null;
  let problem: Problem | null = null;
  try {
    addon = loadAddon().info();
    const without = cudaProblem();
    cuda = without && asProblem(without);
  } catch (error) {
    problem = asProblem(error);
  }
  return {
    ok: problem === null,
    problem,
    steadytune: packageVersion(),
    node: process.versions.node,
    napi: process.versions.napi ?? null,
    system: { platform: process.platform, architecture: process.arch, ...operatingSystem() },
    cpu: {
      model: cpus()[0]?.model ?? "unknown",
      threads: availableParallelism(),
      memoryBytes: totalmem(),
      freeMemoryBytes: freemem(),
    },
    libtorch: { chosen, candidates },
    addon,
    addons: listAddons().map(({ path, record }) => ({ path, builtForTorch: record.torch })),
    devices: ["cpu", ...(addon !== null && cuda === null ? ["cuda"] : [])],
    // Why there is no "cuda" among them.
    cuda,
    folders: { libtorch: libtorchCache(), hub: hubCache() },
    environment: environment(),
  };
}

function operatingSystem(): { release: string; libc: string } {
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  // Without this the report resolves the name of every open socket, which can take seconds.
  report.excludeNetwork = true;
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  const glibc = header.glibcVersionRuntime;
  return { release: release(), libc: glibc === undefined ? "no glibc" : `glibc ${glibc}` };
}

/** Where the hub's own tools keep models, as they decide it. */
function hubCache(env: NodeJS.ProcessEnv = process.env): string {
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
  return env.HF_HUB_CACHE || join(home, "hub");
}

function asProblem(error: unknown): Problem {
  if (!(error instanceof SteadytuneError)) throw error;
  return { code: error.code, message: error.message, ...(error.hint !== undefined && { hint: error.hint }) };
}

function describe(found: Inspection, colors: Colors): string {
  const { libtorch, addon, system, cpu, problem } = found;
  const chosen = libtorch.chosen;
  const facts: [string, string][] = [
    ["steadytune", found.steadytune],
    ["node", `${found.node} (Node-API ${found.napi ?? "unknown"})`],
    ["system", `${system.platform} ${system.architecture}, kernel ${system.release}, ${system.libc}`],
    ["cpu", `${cpu.model}, ${cpu.threads} threads`],
    ["memory", `${bytes(cpu.memoryBytes)}, ${bytes(cpu.freeMemoryBytes)} free`],
    ["libtorch", chosen === null ? colors.red("none") : `${chosen.version} from ${chosen.source}, ${chosen.root}`],
    ...libtorch.candidates.map(({ source, path, outcome }): [string, string] => [
      `  ${source}`,
      colors.dim(path === "" ? outcome : `${path}: ${outcome}`),
    ]),
    [
      "addon",
      addon === null ? colors.red("not loaded") : `${addon.version}, built for libtorch ${addon.builtForTorch}`,
    ],
    ...found.addons.map(({ path, builtForTorch }): [string, string] => [
      "",
      colors.dim(`${path}: for libtorch ${builtForTorch}`),
    ]),
    ["instruction set", addon?.instructionSet ?? "unknown"],
    ["devices", found.devices.join(", ")],
    ...(addon?.gpus ?? []).map(({ name, capability, memoryBytes }): [string, string] => [
      "  gpu",
      `${name}, compute capability ${capability}, ${bytes(memoryBytes)}`,
    ]),
    ...(found.cuda === null ? [] : [["  cuda", colors.dim(`not in use: ${found.cuda.message}`)] as [string, string]]),
    ["cache", `libtorch in ${found.folders.libtorch}`],
    ["", `models in ${found.folders.hub}`],
    ...Object.entries(found.environment).map(([name, value]): [string, string] => [name, value]),
  ];
  const lines = factLines(facts, colors);
  if (problem !== null) {
    lines.push("", `${colors.red("broken:")} ${problem.message}`);
    if (problem.hint !== undefined) lines.push(`hint: ${problem.hint}`);
  }
  return lines.join("\n");
}

async function inspectSlurm(): Promise<Cluster | { problem: Problem }> {
  const { inspectCluster } = await import("../study/slurm/cluster.js");
  try {
    return await inspectCluster();
  } catch (error) {
    return { problem: asProblem(error) };
  }
}

function describeSlurm(found: Awaited<ReturnType<typeof inspectSlurm>>, colors: Colors): string {
  if ("problem" in found) {
    const { message, hint } = found.problem;
    return [`${colors.red("no Slurm:")} ${message}`, ...(hint === undefined ? [] : [`hint: ${hint}`])].join("\n");
  }
  const { version, name, maxArraySize, killWait, preemption, requeue, accounting, partitions, problems } = found;
  const facts: [string, string][] = [
    ["slurm", `${version}, cluster ${name}`],
    ["arrays", `up to ${maxArraySize} tasks`],
    ["preemption", `${preemption}; ${requeue ? "jobs are requeued" : "jobs are requeued where they ask for it"}`],
    ["time to save", `${killWait} s after scancel (KillWait)`],
    ["accounting", accounting ? "sacct tells how jobs ended" : "none: how a job ended is forgotten after a while"],
    ...partitions.map(({ name, available, timeLimit, nodes, gres }, i): [string, string] => [
      i === 0 ? "partitions" : "",
      `${name}: ${count(nodes, "node")}, time limit ${timeLimit}${gres === null ? "" : `, ${gres}`}` +
        (available ? "" : `, ${colors.red("not up")}`),
    ]),
  ];
  const warnings = problems.map((problem) => `${colors.yellow("warning:")} ${problem}`);
  return [...factLines(facts, colors), ...warnings].join("\n");
}

function factLines(facts: readonly [string, string][], colors: Colors): string[] {
  const width = Math.max(...facts.map(([name]) => name.length)) + 2;
  return facts.map(([name, value]) => colors.bold(name.padEnd(width)) + value);
}

/** Variables that change what steadytune finds or does; without names and passwords inside of addresses. */
function environment(): Record<string, string> {
  const names = [
    ...["LIBTORCH", "STEADYTUNE_CACHE", "STEADYTUNE_DATA", "XDG_CACHE_HOME", "LD_LIBRARY_PATH", "LD_PRELOAD"],
    ...["HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "OMP_NUM_THREADS", "MKL_NUM_THREADS"],
    "CUDA_VISIBLE_DEVICES",
  ];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value.replace(/(?<=:\/\/)[^/@]*@/, "")]];
    }),
  );
}
