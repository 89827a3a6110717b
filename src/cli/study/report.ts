import type { Command } from "commander";
import { printReport } from "../report.js";
import { openTerminal } from "../terminal.js";
import { addExamples, printJson } from "../verb.js";
import { studyFolder } from "./folder.js";
import { plannedVerb, type PlannedOptions } from "./options.js";

export function defineReport(parent: Command): void {
  const command = plannedVerb(parent, "report", "tables and figures of what is finished")
    .description("Writes the report of what is finished into the study's folder, also while the study runs.")
    .action(report);
  addExamples(command, [["A study, finished or not", "steadytune study report runs/tickets"]]);
}

async function report(study: string, options: PlannedOptions): Promise<void> {
  const [{ writeReport }, { requireManifest }] = await Promise.all([
    import("../../report/write-report.js"),
    import("../../study/manifest.js"),
  ]);
  const folder = await studyFolder(study, options);
  await requireManifest(folder);
  const written = await writeReport([folder], folder);
  if (options.json) {
    printJson(written);
    return;
  }
  printReport(written.summaries);
  const terminal = await openTerminal(options);
  terminal.line();
  terminal.line(`the report with figures: ${written.path}`);
}
