import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { nearest } from "../config/suggest.js";
import { ConfigError } from "../errors.js";
import { findGlueTask, glueTasks } from "./glue-tasks.js";
import { loadGlueTask } from "./load-glue-task.js";
import { loadOwnTask } from "./load-own-task.js";
import type { TaskData } from "./task.js";

/**
 * Rows are cut into splits by this seed and not by the run's: runs that differ in their seed must be scored on the same
 * rows. (The paper's code fixes its seed as well.)
 */
export const splitSeed = 0;

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

/**
 * Reads a task and cuts it into train, validation and test.
 *
 * Throws ConfigError for an unknown task or column, and DataError, naming file and line, for what the files lack.
 */
export async function loadTask(options: LoadTaskOptions): Promise<TaskData> {
  if (options.task === undefined) return loadOwnTask(options);
  const task = findGlueTask(options.task);
  if (task === undefined) throw unknownTask(options.task);
  if ((await stat(options.data).catch(() => null))?.isFile()) {
    throw new ConfigError(`the GLUE task ${task.name} is read from a folder, and ${resolve(options.data)} is a file`, {
      hint: `Give the folder that holds ${task.trainFile}, or leave out the task to read the file as your own data.`,
    });
  }
  return loadGlueTask(task, options);
}

function unknownTask(name: string): ConfigError {
  const names = glueTasks.map((task) => task.name);
  const near = nearest(name, names);
  return new ConfigError(`unknown task '${name}' (known: ${names.join(", ")})`, {
    hint:
      near === undefined ? "For your own data, leave out the task and give the file as data." : `Did you mean ${near}?`,
  });
}
