/** Which rows a task has, and how they are cut into splits. */
export interface LoadTaskOptions {
  /** A GLUE task by name; left out for own data. */
  task?: string | undefined;
  /** GLUE: the folder of the task, or the one above it. Own data: a file, or a folder with train.csv or the like. */
  data: string;
  /** Files in the format of the training file, in place of what would be cut. */
  validation?: string | undefined;
  test?: string | undefined;
  /** Columns of own data; guessed (and noted) when left out. */
  text?: string | undefined;
  pair?: string | undefined;
  label?: string | undefined;
  /** Train on a subset of this many rows, balanced over the classes (1000: the paper's 1k tasks). */
  trainRows?: number | undefined;
  /** Where the paper's text and its released code differ, which of them to follow. */
  protocol: "paper" | "released";
  /** "full": validation and test are both the whole dev set. */
  evaluateOn?: "halves" | "full" | undefined;
  /**
   * Seed of the cut of own data, 0 .. 2^32 - 1. Keep it the same over the runs of a study, or their scores come from
   * different rows. The splits of GLUE do not depend on it.
   */
  seed: number;
  /** Count and skip rows that cannot be used, instead of stopping at the first. */
  skipBadRows?: boolean | undefined;
}
