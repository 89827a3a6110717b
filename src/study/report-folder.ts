import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../errors.js";

/**
 * A report puts a `study.json` into its folder, which must not take the place of a file that somebody wrote, such as
 * the study's own file.
 *
 * @param folder where the report of a study is to go; need not exist
 * @throws ConfigError where a `study.json` stands that is no report's
 */
export async function checkReportFolder(folder: string): Promise<void> {
  const path = join(folder, "study.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return;
    throw new ConfigError(`${path}, which the report would replace, cannot be read`, { cause: error });
  }
  const found = parsed(text);
  if (isObject(found) && "cells" in found && !("stages" in found)) return;
  const what = isObject(found) && "stages" in found ? "is a study's file" : "is no report's";
  throw new ConfigError(`${path} ${what}, and the report would replace it by its own study.json`, {
    hint: "choose another folder with --output, or give that file another name",
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
