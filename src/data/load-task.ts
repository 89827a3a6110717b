import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { nearest } from "../config/suggest.js";
import { ConfigError } from "../errors.js";
import { findGlueTask, glueTasks } from "./glue-tasks.js";
import { loadGlueTask } from "./load-glue-task.js";
import type { LoadTaskOptions } from "./load-options.js";
import { loadOwnTask } from "./load-own-task.js";
import type { TaskData } from "./task.js";

/**
 * Rows are cut into splits by this seed and not by the run's: runs that differ in their seed must be scored on the same
 * rows. (The paper's code fixes its seed as well.)
 */
export const splitSeed = 0;

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
