import { basename } from "node:path";
import type { Command } from "commander";
import { addConfigOptions, configFromOptions } from "../config-options.js";
import { bytes, count, duration } from "../format.js";
import { interruptible } from "../interrupt.js";
import { table } from "../table.js";
import { openTerminal } from "../terminal.js";
import { addCommonOptions, addExamples, print, printJson, type CommonOptions } from "../verb.js";
import { addChoiceOptions, readChosenStudy, type ChoiceFlags } from "./choice.js";
import { mostWorkers, wholeNumber } from "./options.js";

interface EstimateFlags extends CommonOptions, ChoiceFlags, Record<string, unknown> {
  workers?: string;
}

export function defineEstimate(parent: Command): void {
  const command = parent
    .command("estimate")
    .summary("how long a study will take on this device, and how much disk")
    .description(
      "Times a few steps of each kind of run (model, data, batch size, methods) and adds up. What depends on a choice " +
        "among cells counts as the mean over what may be chosen.",
    )
    .argument("<file>", "the study, a JSON file")
    .option("--workers <n>", "runs side by side (default: one per GPU; on the CPU as many as cores and memory allow)")
    .action(estimate);
  addCommonOptions(command);
  addChoiceOptions(command);
  addConfigOptions(command);
  addExamples(command, [
    ["Table 1 of the paper on this machine", "steadytune study estimate configs/paper/table1.json --data ./glue"],
  ]);
}

async function estimate(file: string, options: EstimateFlags): Promise<void> {
  const [{ estimateStudy, workOf }, { workersFor }] = await Promise.all([
    import("../../study/estimate.js"),
    import("../../study/workers.js"),
  ]);
  const wanted = options.workers === undefined ? undefined : wholeNumber("--workers", options.workers, 1, mostWorkers);
  const study = await readChosenStudy(file, await configFromOptions(options), options);
  const runs = workOf(study).flatMap(({ config, runs }) => Array.from({ length: Math.ceil(runs) }, () => ({ config })));
  const { count: workers } = await workersFor(runs, wanted);
  const terminal = await openTerminal(options);
  const found = await interruptible(terminal, (signal) =>
    estimateStudy(study, {
      workers,
      signal,
      onKind: ({ task, model }, number, of) => terminal.line(`timing ${number} of ${of}: ${task} with ${model}`),
    }),
  );
  const seconds = found.seconds / workers;
  if (options.json) {
    printJson({ ...found, workers, secondsWithWorkers: seconds });
    return;
  }
  print(
    table(
      ["task", "model", "batch", "methods", "runs", "a step", "all runs"],
      found.kinds.map((kind) => [
        kind.task,
        basename(kind.model),
        String(kind.batchSize),
        kind.methods.join(", "),
        String(Math.round(kind.runs)),
        duration(kind.secondsPerStep * 1000),
        duration(kind.seconds * 1000),
      ]),
      [0, 1, 3],
    ),
  );
  if (study.budget !== null && found.seconds > 3600 * study.budget.hours) {
    terminal.warn(`its budget of ${duration(3_600_000 * study.budget.hours)} ends it before all runs are done`);
  }
  const { results, weights, states } = found.disk;
  print(
    `${count(Math.round(found.runs), "run")}: about ${duration(seconds * 1000)} with ${count(workers, "worker")}; ` +
      `${bytes(Math.round(results + weights))} of disk, and ${bytes(states)} more while it runs`,
  );
}
