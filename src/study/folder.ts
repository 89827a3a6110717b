import { join } from "node:path";

/** Where everything of a study lies below its folder. */
export interface StudyPaths {
  folder: string;
  /** What the study is and which trials it has, one line each. */
  manifest: string;
  /** Finished trials, one folder each, named by id. */
  trials: string;
  /** Trials under way or cut off; each moves to `trials` in one step when it is finished. */
  work: string;
  /** Runs of intermediate tasks, one folder each, named by id. */
  stages: string;
  /** Array jobs of a Slurm cluster, one numbered folder each. */
  slurm: string;
}

export function studyPaths(folder: string): StudyPaths {
  return {
    folder,
    manifest: join(folder, "manifest.jsonl"),
    trials: join(folder, "trials"),
    work: join(folder, "work"),
    stages: join(folder, "stages"),
    slurm: join(folder, "slurm"),
  };
}
