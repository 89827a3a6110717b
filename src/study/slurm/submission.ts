import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { studyPaths } from "../folder.js";

/** One array job that was, or was to be, submitted: a folder `slurm/<number>` of the study. */
export interface Submission {
  number: number;
  /** Absolute; it is the job's comment as well. */
  folder: string;
  /** Ids of the trials of every array task. */
  tasks: string[][];
  /** Null where nobody lived to write it down; the job may be in the queue all the same. */
  job: string | null;
}

export interface SubmissionFiles {
  /** A line for each task: ids with commas between them. */
  tasks: string;
  script: string;
  /** What sbatch printed: "123", or "123;cluster". */
  job: string;
  logs: string;
}

export function submissionFiles(folder: string): SubmissionFiles {
  return {
    tasks: join(folder, "tasks"),
    script: join(folder, "job.sh"),
    job: join(folder, "job"),
    logs: join(folder, "logs"),
  };
}

/** All of a study, in the order in which they were submitted; none where the study never met Slurm. */
export async function readSubmissions(study: string): Promise<Submission[]> {
  const parent = resolve(studyPaths(study).slurm);
  const numbers = (await readdir(parent).catch(() => [])).filter((name) => /^\d+$/.test(name)).map(Number);
  const submissions = numbers
    .sort((a, b) => a - b)
    .map(async (number): Promise<Submission> => {
      const folder = join(parent, String(number));
      const files = submissionFiles(folder);
      const [tasks, job] = await Promise.all([files.tasks, files.job].map(readOrEmpty));
      const lines = tasks!.split("\n").filter((line) => line !== "");
      const [id = ""] = job!.trim().split(";");
      return { number, folder, tasks: lines.map((line) => line.split(",")), job: id === "" ? null : id };
    });
  return Promise.all(submissions);
}

export function logOfTask({ folder }: Pick<Submission, "folder">, task: number): string {
  return join(submissionFiles(folder).logs, `${task}.log`);
}

function readOrEmpty(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}
