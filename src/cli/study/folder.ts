import { statSync } from "node:fs";
import { ConfigError } from "../../errors.js";

/** What says where the study of a file lies. */
export interface PlaceFlags {
  /** `runs/<name>` when not given, and with a preset `runs/<name>-<preset>`. */
  output?: string;
  preset?: string;
}

/**
 * The folder of the study that a command line names: itself, or the file that the study was planned from.
 *
 * @throws ConfigError where there is no such study, or the flags have nothing to say of it
 */
export async function studyFolder(study: string, { output, preset }: PlaceFlags): Promise<string> {
  const found = statSync(study, { throwIfNoEntry: false });
  if (found === undefined) {
    throw new ConfigError(`there is no study ${study}`, { hint: "name a study's folder, or the file that it is of" });
  }
  if (found.isDirectory()) {
    if (output === undefined && preset === undefined) return study;
    const flag = output === undefined ? "--preset" : "--output";
    throw new ConfigError(`${study} is a study's folder already, so that ${flag} has nothing to say`);
  }
  if (output !== undefined) return output;
  const { readStudyFile } = await import("../../study/file.js");
  return defaultFolder(await readStudyFile(study, { preset }));
}

/** Where the study of a file lies unless --output says otherwise. */
export function defaultFolder({ name }: { name: string }): string {
  return `runs/${name}`;
}
