import { SlurmError } from "../../errors.js";
import { slurmCommand, slurmOutput } from "./command.js";

export interface Cluster {
  /** "22.05.8" */
  version: string;
  name: string;
  /** Tasks that an array may have. */
  maxArraySize: number;
  /** Seconds from TERM to KILL, in which a cancelled task saves its state. */
  killWait: number;
  preemption: string;
  /** Whether tasks may be put back into the queue, unless a job says otherwise. */
  requeue: boolean;
  /** Whether sacct tells how jobs ended that the queue has forgotten. */
  accounting: boolean;
  partitions: { name: string; available: boolean; timeLimit: string; nodes: number; gres: string | null }[];
  /** What would keep studies from running here, or hold them up. */
  problems: string[];
}

/** What a Slurm cluster has of what studies need. @throws SlurmError when there is none, or it does not answer. */
export async function inspectCluster(): Promise<Cluster> {
  const [config, partitions] = await Promise.all([
    slurmOutput("scontrol", ["show", "config"]),
    slurmOutput("sinfo", ["-h", "-o", "%R|%a|%l|%D|%G"]),
  ]);
  const setting = (key: string): string => new RegExp(`^${key}\\s*= (.*)$`, "m").exec(config)?.[1]?.trim() ?? "";
  const cluster: Cluster = {
    version: setting("SLURM_VERSION"),
    name: setting("ClusterName"),
    maxArraySize: Number(setting("MaxArraySize")) || 0,
    killWait: Number.parseInt(setting("KillWait"), 10) || 0,
    preemption: setting("PreemptMode"),
    requeue: setting("JobRequeue") !== "0",
    accounting: await answers("sacct", ["-n", "-X", "-S", "now"]),
    partitions: partitions
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const [name = "", state = "", timeLimit = "", nodes = "", gres = ""] = line.split("|");
        return {
          name,
          available: state === "up",
          timeLimit,
          nodes: Number(nodes),
          gres: gres === "(null)" ? null : gres,
        };
      }),
    problems: [],
  };
  const { problems } = cluster;
  for (const program of ["sbatch", "scancel"]) {
    if (!(await answers(program, ["--version"]))) problems.push(`there is no ${program} on PATH`);
  }
  if (cluster.maxArraySize < 2) problems.push("array jobs are switched off (MaxArraySize)");
  if (!cluster.partitions.some(({ available }) => available)) problems.push("no partition is up");
  if (cluster.killWait < 10) {
    problems.push(`a cancelled task has ${cluster.killWait} s to save its state (KillWait); large models take longer`);
  }
  return cluster;
}

async function answers(program: string, args: readonly string[]): Promise<boolean> {
  try {
    return (await slurmCommand(program, args)).code === 0;
  } catch (error) {
    if (error instanceof SlurmError) return false;
    throw error;
  }
}
