import type { Command } from "commander";
import { defineAddSeeds } from "./study/add-seeds.js";
import { defineEstimate } from "./study/estimate.js";
import { defineEverything } from "./study/everything.js";
import { definePlan } from "./study/plan.js";
import { defineReport } from "./study/report.js";
import { defineRetry } from "./study/retry.js";
import { defineRun } from "./study/run.js";
import { defineStatus } from "./study/status.js";

/** `study FILE`, and the verbs below it, each in a file of its own. */
export function define(command: Command): void {
  defineEverything(command);
  command.commandsGroup("Step by step:");
  defineEstimate(command);
  definePlan(command);
  defineRun(command);
  defineStatus(command);
  defineRetry(command);
  defineReport(command);
  defineAddSeeds(command);
}
