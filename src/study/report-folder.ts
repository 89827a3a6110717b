import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../errors.js";

/** What a report writes beside its `study.json`, which it writes first. */
const others = ["table.csv", "trials.csv", "report.html"];

const hint = "choose another folder with --output, or give that file another name";

/**
 * A report must not take the place of files that somebody else wrote, such as the study's own file or a data set. One
 * that stands there already is known by its `study.json`.
 *
 * @param folder where the report of a study is to go; need not exist
 * @throws ConfigError where a file stands that no report wrote and that this one would replace
 */
export async function checkReportFolder(folder: string): Promise<void> {
  const path = join(folder, "study.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return refuseOthers(folder);
    throw new ConfigError(`${path}, which the report would replace, cannot be read`, { cause: error });
  }
  const found = parsed(text);
  if (isObject(found) && "cells" in found && !("stages" in found)) return;
  const what = isObject(found) && "stages" in found ? "is a study's file" : "is no report's";
  throw new ConfigError(`${path} ${what}, and the report would replace it by its own study.json`, { hint });
}

function refuseOthers(folder: string): void {
  const path = others.map((name) => join(folder, name)).find((path) => existsSync(path));
  if (path === undefined) return;
  throw new ConfigError(`${path} is no report's, since there is no study.json beside it, and would be replaced`, {
    hint,
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
