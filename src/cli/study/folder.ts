import { statSync } from "node:fs";
import { ConfigError } from "../../errors.js";

/**
 * The folder of the study that a command line names: itself, or the file that the study was planned from.
 *
 * @param output where the study of a file lies; `runs/<name>` when not given
 */
export async function studyFolder(study: string, output?: string): Promise<string> {
  const found = statSync(study, { throwIfNoEntry: false });
  if (found === undefined) {
    throw new ConfigError(`there is no study ${study}`, { hint: "name a study's folder, or the file that it is of" });
  }
  if (found.isDirectory()) {
    if (output === undefined) return study;
    throw new ConfigError(`${study} is a study's folder already, so that --output has nothing to say`);
  }
  if (output !== undefined) return output;
  const { readStudyFile } = await import("../../study/file.js");
  return defaultFolder(await readStudyFile(study));
}

/** Where the study of a file lies unless --output says otherwise. */
export function defaultFolder({ name }: { name: string }): string {
  return `runs/${name}`;
}
