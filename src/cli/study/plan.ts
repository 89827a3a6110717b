import type { Command } from "commander";
import { addConfigOptions, configFromOptions } from "../config-options.js";
import { count } from "../format.js";
import { table } from "../table.js";
import { openTerminal } from "../terminal.js";
import { addCommonOptions, addExamples, print, printJson, type CommonOptions } from "../verb.js";
import { addChoiceOptions, readChosenStudy, type ChoiceFlags } from "./choice.js";
import { defaultFolder } from "./folder.js";

export function definePlan(parent: Command): void {
  const command = parent
    .command("plan")
    .summary("freeze what the study consists of, without running it")
    .description(
      "Writes the manifest: a line per trial with its whole config, what its data and model hold, its threads and the " +
        "versions. Editing the study's file later changes no trial that is planned; new seeds and recipes are added.",
    )
    .argument("<file>", "the study, a JSON file")
    .option("--replan", "drop planned runs whose config, data or model has changed, instead of refusing to mix them")
    .action(plan);
  addCommonOptions(command);
  addChoiceOptions(command);
  addConfigOptions(command);
  addExamples(command, [["A study into its folder", "steadytune study plan study.json --output runs/tickets"]]);
}

async function plan(
  file: string,
  options: CommonOptions & ChoiceFlags & Record<string, unknown> & { replan?: boolean },
): Promise<void> {
  const { planStudy } = await import("../../study/run.js");
  const { output: given, ...overrides } = await configFromOptions(options);
  const study = await readChosenStudy(file, overrides, options);
  const output = given ?? defaultFolder(study);
  const { manifest } = await planStudy(study, output, { replan: options.replan });
  const { trials } = manifest;
  if (options.json) {
    printJson({ folder: output, trials });
    return;
  }
  const cells = new Map<string, { cell: string[]; seeds: number }>();
  for (const { stage, task, recipe, config } of trials) {
    const key = JSON.stringify([stage, task, recipe]);
    const length = config.steps === undefined ? `${config.epochs} epochs` : `${config.steps} steps`;
    const entry = cells.get(key) ?? { cell: [stage, task, recipe, length], seeds: 0 };
    entry.seeds += 1;
    cells.set(key, entry);
  }
  for (const { stage, task, recipe, select } of manifest.study.cells ?? []) {
    if (select === null || select.choice !== null) continue;
    const cell = [stage, task, recipe, `chosen in stage ${select.stage}`];
    cells.set(JSON.stringify([stage, task, recipe]), { cell, seeds: select.seeds.length });
  }
  print(
    table(
      ["stage", "task", "recipe", "length", "seeds"],
      [...cells.values()].map(({ cell, seeds }) => [...cell, String(seeds)]),
      [0, 1, 2],
    ),
  );
  const terminal = await openTerminal(options);
  terminal.line(`${count(trials.length, "run")} planned; next: steadytune study run ${output}`);
}
