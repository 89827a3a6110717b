import { Option, type Command } from "commander";
import type { EvaluateOptions } from "../training/model.js";
import { addConfigOptions, configFromOptions } from "./config-options.js";
import { scoreWithInterval, score } from "./format.js";
import { interruptible } from "./interrupt.js";
import { openModel, type ModelFlags } from "./open-model.js";
import { table } from "./table.js";
import { openTerminal } from "./terminal.js";
import { addExamples, print, printJson, type CommonOptions } from "./verb.js";

export function define(command: Command): void {
  command
    .description(
      "Scores a fine-tuned model on all rows of a labelled file, or on one split of a GLUE task as finetune cuts it. " +
        "Prints every metric, the 95 % interval of the task's own, and what the majority class would score.",
    )
    .addOption(
      new Option("--split <name>", "rows of a GLUE task (default: validation)").choices([
        "train",
        "validation",
        "test",
      ]),
    )
    .action(evaluate);
  addConfigOptions(command, [
    ...(["model", "revision", "task", "data", "text", "pair", "label", "maxLength", "evaluateOn"] as const),
    ...(["skipBadRows", "evaluationBatchSize", "device", "dtype", "threads"] as const),
  ]);
  addExamples(command, [
    [
      "New labelled rows",
      "steadytune evaluate --model runs/tickets-seed0/best --data more.csv --text body --label queue",
    ],
    ["The test half of RTE", "steadytune evaluate --model runs/rte-seed0/best --task RTE --data ./glue --split test"],
  ]);
}

async function evaluate(options: CommonOptions & ModelFlags & { split?: EvaluateOptions["split"] }): Promise<void> {
  const { completeConfig, missingData } = await import("../config/resolve.js");
  const config = completeConfig(await configFromOptions(options));
  const { data } = config;
  if (data === undefined) throw missingData(config.task);
  const terminal = await openTerminal(options);
  const evaluation = await interruptible(terminal, async (signal) => {
    await using model = await openModel(options, config, { terminal, signal });
    terminal.status("scoring");
    return await model.evaluate({ ...config, data, split: options.split, signal });
  });
  terminal.clear();
  if (options.json) {
    printJson(evaluation);
    return;
  }
  for (const note of evaluation.notes) terminal.line(terminal.colors.dim(note));
  const { rows, metric, scores, interval, majority } = evaluation;
  const others = Object.entries(scores).filter(([name]) => name !== metric);
  print(
    table(
      ["metric", `${rows} rows`],
      [
        [metric, scoreWithInterval(scores[metric], interval)],
        [`majority class, ${metric}`, score(majority)],
        ...others.map(([name, value]) => [name, score(value)]),
      ],
      [0, 1],
    ),
  );
}
