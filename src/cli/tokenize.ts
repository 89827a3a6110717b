import { once } from "node:events";
import type { Command } from "commander";
import { addConfigOptions, configFromOptions } from "./config-options.js";
import { modelFolder } from "./model-folder.js";
import { readLines } from "./lines.js";
import { openTerminal } from "./terminal.js";
import { addExamples, type CommonOptions } from "./verb.js";

interface TokenizeOptions extends CommonOptions {
  model: string;
  maxLength?: string;
}

export function define(command: Command): void {
  command
    .description(
      'Reads lines of {"text": ..., "pair": ...} on stdin and writes {"input_ids": ..., "token_type_ids": ...} for each ' +
        "on stdout, in order, cut longest first as for training. pair may be left out.",
    )
    .requiredOption(
      "--model <path>",
      "folder with tokenizer.json, vocab.txt, or vocab.json and merges.txt; or a hub id",
    )
    .action(tokenize);
  addConfigOptions(command, ["maxLength"]);
  addExamples(command, [
    ["One text", `echo '{"text": "Where is my parcel?"}' | steadytune tokenize --model ./bert-base-uncased`],
  ]);
}

async function tokenize(options: TokenizeOptions): Promise<void> {
  const [{ loadTokenizer }, { tokenizeLines }, { completeConfig }] = await Promise.all([
    import("../tokenizer/tokenizer.js"),
    import("../tokenizer/lines.js"),
    import("../config/resolve.js"),
  ]);
  const { maxLength } = completeConfig(await configFromOptions({ maxLength: options.maxLength }));
  const terminal = await openTerminal(options);
  const tokenizer = await loadTokenizer(await modelFolder(options.model, terminal));
  const source = "standard input";
  for await (const line of tokenizeLines(tokenizer, readLines(process.stdin, source), { maxLength, source })) {
    if (!process.stdout.write(`${JSON.stringify(line)}\n`)) await once(process.stdout, "drain");
  }
}
