#!/usr/bin/env node
// Writes the parts of docs/ that come from the code: docs/configuration.md from the config schema and the recipes.
// With --check it writes nothing and exits with 1 where a page is out of date. Needs the compiled dist/.

import { readFileSync, writeFileSync } from "node:fs";
import prettier from "prettier";
import { recipeNames, recipePath } from "../dist/config/file.js";
import { configGroups, configSchema, methodSchemas, transferKeys } from "../dist/config/schema.js";

const page = new URL("../docs/configuration.md", import.meta.url);

function configurationPage() {
  const properties = Object.entries(configSchema.properties);
  const groups = Object.entries(configGroups).map(([group, title]) => {
    const own = properties.filter(([, property]) => property.group === group);
    return `### ${title}\n\n${propertyTable(own)}`;
  });
  const methods = methodSchemas.map((schema) => {
    const { name, ...parameters } = schema.properties;
    return `| \`${name.const}\` | ${schema.description} | ${Object.entries(parameters).map(parameterText).join(" ")} |`;
  });
  const runKeys = properties
    .filter(([key, { group }]) => group !== "file" && !transferKeys.includes(key))
    .map(([key]) => `\`${key}\``);
  const recipes = recipeNames().map((name) => {
    const { description } = JSON.parse(readFileSync(recipePath(name), "utf8"));
    return `| \`${name}\` | ${description} |`;
  });
  return `<!-- Made by scripts/docs.mjs from src/config/schema.ts. Edit that file, then run: node scripts/docs.mjs -->

# Configuration

A run is a set of keys. Each comes from one of four places; a later one wins:

1. the defaults below, which are those of the paper;
2. recipes: \`--recipe mosbach\` (one that ships) or \`--recipe ./mine.json\` (a file of yours), any number of them;
3. flags: every key that is not nested has one (\`batchSize\` is \`--batch-size\`);
4. \`--set key=value\`, which also reaches nested keys: \`--set optimizer.learningRate=5e-5\`,
   \`--set methods.0.decay=0.9\`, \`--set 'methods=[{"name":"llrd","decay":0.95}]'\`. The value is JSON, or plain text;
   \`null\` puts a key back to its default.

From code, \`finetune({ ... })\` takes the same keys. Names of files are relative to the working directory, those in
\`extends\` and of methods to the file that holds them. A run has one length and one set of seeds: \`steps\` takes the place
of \`epochs\` that a recipe sets, and \`seed\` that of \`initSeed\` and \`orderSeed\`. An unknown key is an error that names
the near one.

\`steadytune config\` with the same flags prints what a command line amounts to; every run folder holds it as
\`config.json\`, which is itself a recipe: \`steadytune finetune --recipe runs/rte-seed0/config.json --seed 1\` repeats a
run with another seed (give it another \`--output\`). \`steadytune config schema\` prints the JSON schema for editors.

## Recipes

| name | what it is for |
| --- | --- |
${recipes.join("\n")}

A recipe of your own starts from one of them:

\`\`\`json
{
  "extends": "paper",
  "epochs": 10,
  "optimizer": { "learningRate": 5e-5 },
  "methods": [{ "name": "weight-decay", "lambda": 0.01 }]
}
\`\`\`

\`extends\` takes a name, a file (\`./base.json\`), or a list of them. Objects are merged key by key, arrays are replaced.

## Keys

${groups.join("\n\n")}

### \`optimizer\`

${propertyTable(Object.entries(configSchema.properties.optimizer.properties))}

### \`methods\`

Entries of the list have a \`name\` and their own settings, and are applied in order.

| name | what it does | settings |
| --- | --- | --- |
${methods.join("\n")}
| \`./mine.js\` | A method of your own, see [methods](methods.md#a-method-of-your-own). | whatever it takes |

### \`transfer\`

The keys of a run but for ${runKeys.join(", ")}. What it does not
name comes from the run or from the defaults, see [methods](methods.md#an-intermediate-task).
`;
}

function propertyTable(entries) {
  const rows = entries.map(
    ([key, property]) =>
      `| \`${key}\` | ${typeText(property)} | ${property.default === undefined || key === "optimizer" ? "" : `\`${JSON.stringify(property.default)}\``} | ${property.description} |`,
  );
  return ["| key | values | default | meaning |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

function parameterText([key, property]) {
  return `\`${key}\` (${typeText(property)}): ${property.description}`;
}

/** What a value may be: its type and range, or the words to choose from. */
function typeText(property) {
  if (property.enum !== undefined) return property.enum.map((word) => `\`${word}\``).join(", ");
  if (property.type === "array" && property.items?.enum !== undefined) return `list of ${typeText(property.items)}`;
  if (property.type === "array" && Array.isArray(property.items)) return `list of ${property.items.length} numbers`;
  if (property.type === "array") return "list";
  if (property.type === "object") return "object, see below";
  const type = { integer: "whole number", number: "number", string: "text", boolean: "true or false" }[property.type];
  const bounds = [
    property.minimum !== undefined && `>= ${property.minimum}`,
    property.exclusiveMinimum !== undefined && `> ${property.exclusiveMinimum}`,
    property.maximum !== undefined && `<= ${property.maximum}`,
    property.exclusiveMaximum !== undefined && `< ${property.exclusiveMaximum}`,
  ].filter(Boolean);
  return [type, ...bounds].join(", ");
}

const options = await prettier.resolveConfig(page);
const wanted = await prettier.format(configurationPage(), { ...options, parser: "markdown" });

if (process.argv.includes("--check")) {
  let present = "";
  try {
    present = readFileSync(page, "utf8");
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  if (present !== wanted) {
    process.stderr.write("docs/configuration.md is out of date: run node scripts/docs.mjs\n");
    process.exitCode = 1;
  }
} else {
  writeFileSync(page, wanted);
}
