import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { Fingerprints } from "#src/training/fingerprint.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { tinyConfig } from "../helpers/tiny-run.js";
import { copiedTokenizer } from "../helpers/tokenizer-folder.js";

test("a change in any of the tokenizer's files makes it another model", async (t) => {
  const model = await copiedTokenizer(t, "roberta-files", {
    "config.json": {},
    "added_tokens.json": {},
    "special_tokens_map.json": {},
    "spiece.model": "",
    "sentencepiece.bpe.model": "",
    "README.md": "",
  });
  const config = { ...tinyConfig(temporaryFolder(t)), model, init: "random" as const };
  const weights = async (): Promise<string> => (await new Fingerprints().of(config)).weights;
  let before = await weights();
  t.is(await weights(), before);
  await appendFile(join(model, "README.md"), " ");
  t.is(await weights(), before);
  for (const name of [
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "spiece.model",
    "sentencepiece.bpe.model",
  ]) {
    await appendFile(join(model, name), " ");
    const after = await weights();
    t.not(after, before, name);
    before = after;
  }
});
