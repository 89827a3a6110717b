import { slurmOutput } from "./command.js";
import { tasksInQueue } from "./queue.js";

/**
 * Takes a study's tasks out of Slurm's queue, whoever submitted them. Those that run save their states first (Slurm
 * waits KillWait for it).
 *
 * @returns the tasks that were cancelled ("123_4"); none when nothing was queued
 * @throws SlurmError when Slurm cannot be asked
 */
export async function cancelTasks(study: string): Promise<string[]> {
  const tasks = await tasksInQueue(study);
  // By their arrays, whose other tasks have ended: a thousand names would not fit on a command line.
  const arrays = [...new Set(tasks.map((task) => task.split("_")[0]!))];
  if (arrays.length > 0) await slurmOutput("scancel", arrays);
  return tasks;
}
