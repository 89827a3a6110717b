import type { Command } from "commander";
import { ConfigError } from "../../errors.js";
import type { RunConfig } from "../../config/schema.js";
import type { Study, StudyChoice } from "../../study/file.js";

/** Flags that choose a part or a variant of a study file. */
export interface ChoiceFlags {
  preset?: string;
  tasks?: string;
  seeds?: string;
}

const mostSeeds = 100_000;

export function addChoiceOptions(command: Command): void {
  command.optionsGroup("Study:");
  command.option("--preset <name>", "a variant that the file offers, such as small");
  command.option("--tasks <names>", "only these tasks of the study, with commas between them");
  command.option("--seeds <n|list>", "how many seeds in all stages, or which ones, with commas between them");
}

/**
 * The study of a file, as flags choose and change it.
 *
 * @throws ConfigError naming the file and the key, or the flag, at fault
 */
export async function readChosenStudy(file: string, overrides: RunConfig, flags: ChoiceFlags): Promise<Study> {
  const { readStudyFile } = await import("../../study/file.js");
  return readStudyFile(file, { overrides, ...choiceOf(flags) });
}

/** @throws ConfigError where --seeds is neither a count nor a list */
export function choiceOf({ preset, tasks, seeds }: ChoiceFlags): Pick<StudyChoice, "preset" | "tasks" | "seeds"> {
  const names = tasks?.split(",").map((name) => name.trim());
  return { preset, tasks: names, seeds: seeds === undefined ? undefined : seedsOf(seeds) };
}

function seedsOf(text: string): number | number[] {
  const parts = text.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  const [count] = parts;
  const whole = parts.every((part) => Number.isInteger(part) && part >= 0 && part < 2 ** 32);
  if (count !== undefined && whole && parts.length === 1 && count >= 1 && count <= mostSeeds) return count;
  if (whole && parts.length > 1 && new Set(parts).size === parts.length) return parts;
  throw new ConfigError(`--seeds must be a count or a list of seeds, but is ${text}`, {
    hint: "such as --seeds 5 (seeds 0 to 4) or --seeds 0,7,11",
  });
}
