import { readFileSync } from "node:fs";
import { Argument, type Command } from "commander";
import { addConfigOptions, addMethodOption, configFromOptions } from "./config-options.js";
import { addExamples, print, printJson } from "./verb.js";

const subjects = ["finetune", "schema", "examples"] as const;

export function define(command: Command): void {
  command
    .description(
      "Prints the resolved config of a command line: recipes merged, defaults filled in, everything checked. " +
        "`config schema` prints the JSON schema of config files, `config examples` the recipes that ship.",
    )
    .addArgument(new Argument("[subject]", "what to print").choices(subjects).default("finetune"))
    .action(config);
  addConfigOptions(command);
  addMethodOption(command);
  addExamples(command, [
    ["What would this run do?", "steadytune config --recipe mosbach --task RTE --seed 3"],
    [
      "Keep it, and run it later",
      "steadytune config --recipe paper --steps 400 > mine.json\nsteadytune finetune --recipe ./mine.json ...",
    ],
    ["Completion and checks in an editor", "steadytune config schema > steadytune.schema.json"],
  ]);
}

async function config(subject: (typeof subjects)[number], options: Record<string, unknown>): Promise<void> {
  if (subject === "schema") {
    const { configSchema } = await import("../config/schema.js");
    printJson(configSchema);
  } else if (subject === "examples") {
    await printRecipes(options["json"] === true);
  } else {
    const { completeConfig } = await import("../config/resolve.js");
    printJson(completeConfig(await configFromOptions(options)));
  }
}

async function printRecipes(json: boolean): Promise<void> {
  const { recipeNames, recipePath } = await import("../config/file.js");
  const texts = recipeNames().map((name) => [name, readFileSync(recipePath(name), "utf8")] as const);
  if (json) printJson(Object.fromEntries(texts.map(([name, text]) => [name, JSON.parse(text)])));
  else print(texts.map(([name, text]) => `${name}.json\n${text.trimEnd()}`).join("\n\n"));
}
