import type { Command } from "commander";
import { count } from "../format.js";
import { openTerminal } from "../terminal.js";
import { addExamples, printJson } from "../verb.js";
import { studyFolder } from "./folder.js";
import { plannedVerb, wholeNumber, type PlannedOptions } from "./options.js";

export function defineAddSeeds(parent: Command): void {
  const command = plannedVerb(parent, "add-seeds", "plan more seeds of every cell")
    .description("Plans the next seeds of every cell of a study. Nothing that is planned or finished changes.")
    .argument("<n>", "how many")
    .option("--stage <name>", "only the cells of this stage")
    .action(addMore);
  addExamples(command, [["Five more", "steadytune study add-seeds runs/tickets 5\nsteadytune study run runs/tickets"]]);
}

async function addMore(study: string, n: string, options: PlannedOptions & { stage?: string }): Promise<void> {
  const { addSeeds } = await import("../../study/add-seeds.js");
  const number = wholeNumber("<n>", n, 1, 100_000);
  const folder = await studyFolder(study, options);
  const added = await addSeeds(folder, number, options.stage);
  if (options.json) printJson({ folder, added });
  const terminal = await openTerminal(options);
  terminal.line(`${count(added.length, "run")} added; next: steadytune study run ${folder}`);
}
