import type { Command } from "commander";
import { ConfigError } from "../../errors.js";
import type { BudgetConfig } from "../../study/schema.js";
import { addCommonOptions, type CommonOptions } from "../verb.js";
import type { PlaceFlags } from "./folder.js";

/** Flags of the verbs that are about a study that is planned. */
export interface PlannedOptions extends CommonOptions, PlaceFlags {}

/** A verb `study NAME <study>`. */
export function plannedVerb(parent: Command, name: string, summary: string): Command {
  const command = parent
    .command(name)
    .summary(summary)
    .argument("<study>", "the study's folder, or its file")
    .option("--preset <name>", "of the file, the study that this preset makes, in runs/<name>-<preset>")
    .option("--output <path>", "of the file, the study in this folder, and not in runs/<name>");
  addCommonOptions(command);
  return command;
}

/** Of a flag that asks for a whole number. */
export function wholeNumber(flag: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (text.trim() !== "" && Number.isInteger(number) && number >= least && number <= most) return number;
  throw new ConfigError(`${flag} must be a whole number from ${least} to ${most}, but is ${text}`);
}

/** Of the flag --budget. */
export function budgetOf({ budget }: { budget?: string }): BudgetConfig | undefined {
  if (budget === undefined) return undefined;
  const hours = Number(budget);
  if (budget.trim() !== "" && Number.isFinite(hours) && hours > 0) return { hours };
  throw new ConfigError(`--budget must be a number of hours over 0, but is ${budget}`);
}

export const mostWorkers = 1024;
