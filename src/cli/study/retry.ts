import type { Command } from "commander";
import { count } from "../format.js";
import { openTerminal } from "../terminal.js";
import { addExamples, printJson } from "../verb.js";
import { studyFolder } from "./folder.js";
import { plannedVerb, type PlannedOptions } from "./options.js";

export function defineRetry(parent: Command): void {
  const command = plannedVerb(parent, "retry", "make trials that failed runnable again")
    .description(
      "Trials that failed are left alone by study run, since most would fail again. This makes them runnable; they go " +
        "on from what they had saved.",
    )
    .action(retry);
  addExamples(command, [
    ["After the cause is gone", "steadytune study retry runs/tickets\nsteadytune study run runs/tickets"],
  ]);
}

async function retry(study: string, options: PlannedOptions): Promise<void> {
  const { retryFailed } = await import("../../study/retry.js");
  const folder = await studyFolder(study, options);
  const retried = await retryFailed(folder);
  if (options.json) printJson({ folder, retried: retried.map(({ id }) => id) });
  const terminal = await openTerminal(options);
  terminal.line(
    retried.length === 0
      ? "no trial has failed"
      : `${count(retried.length, "run")} to be tried again; next: steadytune study run ${folder}`,
  );
}
