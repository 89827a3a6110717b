import type { Command } from "commander";
import { count } from "../format.js";
import { openTerminal } from "../terminal.js";
import { addExamples, printJson } from "../verb.js";
import { studyFolder } from "./folder.js";
import { plannedVerb, type PlannedOptions } from "./options.js";

export function defineCancel(parent: Command): void {
  const command = plannedVerb(parent, "cancel", "take a study out of Slurm's queue")
    .description(
      "Cancels every array task of a study that waits or runs. Tasks that run save their state first: study run goes on " +
        "where they stopped.",
    )
    .action(cancel);
  addExamples(command, [["All jobs of one study, and of no other", "steadytune study cancel runs/tickets"]]);
}

async function cancel(study: string, options: PlannedOptions): Promise<void> {
  const { cancelTasks } = await import("../../study/slurm/cancel.js");
  const folder = await studyFolder(study, options);
  const tasks = await cancelTasks(folder);
  if (options.json) {
    printJson({ folder, tasks });
    return;
  }
  const terminal = await openTerminal(options);
  terminal.line(tasks.length === 0 ? "none of its tasks is in the queue" : `${count(tasks.length, "task")} cancelled`);
}
