import { existsSync } from "node:fs";
import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";

import { loadTokenizer, type Tokenizer } from "#src/tokenizer/tokenizer.js";
import test, { type ExecutionContext } from "ava";

import { bertTokenizerJson, folderWith, vocabularyPath } from "../helpers/tokenizer-folder.js";

interface GoldenEntry {
  text: string;
  pair: string | null;
  max_length: number;
  input_ids: number[];
  token_type_ids: number[];
}

const shared = process.env["STEADYTUNE_DATA"] ?? "../shared/data";

async function readGolden(path: string): Promise<GoldenEntry[]> {
  return JSON.parse(await readFile(path, "utf8")) as GoldenEntry[];
}

async function tokenizerFromVocabulary(t: ExecutionContext): Promise<Tokenizer> {
  const folder = await folderWith(t, {});
  await copyFile(vocabularyPath, join(folder, "vocab.txt"));
  return loadTokenizer(folder);
}

function checkAll(t: ExecutionContext, tokenizer: Tokenizer, entries: GoldenEntry[]): void {
  for (const { text, pair, max_length: maxLength, input_ids: tokenIds, token_type_ids: segmentIds } of entries) {
    t.deepEqual(
      tokenizer.encode(text, pair, maxLength),
      { tokenIds, segmentIds },
      JSON.stringify({ text, pair, maxLength }),
    );
  }
}

test("odd texts and pairs get the ids and segments of transformers, from vocab.txt", async (t) => {
  const entries = await readGolden("test/fixtures/golden/data/token_ids.json");
  t.is(entries.length, 58);
  checkAll(t, await tokenizerFromVocabulary(t), entries);
});

test("odd texts and pairs get the ids and segments of transformers, from tokenizer.json", async (t) => {
  const folder = await folderWith(t, { "tokenizer.json": await bertTokenizerJson() });
  checkAll(t, await loadTokenizer(folder), await readGolden("test/fixtures/golden/data/token_ids.json"));
});

test("real GLUE rows get the ids and segments of transformers, from vocab.txt", async (t) => {
  const path = join(shared, "../golden/data/token_ids.json");
  if (!existsSync(path)) {
    t.log(`skipped: no ${path}`);
    return t.pass();
  }
  const entries = await readGolden(path);
  t.is(entries.length, 283);
  checkAll(t, await tokenizerFromVocabulary(t), entries);
});

test("a real model's tokenizer.json gives the same ids, in spite of the truncation and padding in it", async (t) => {
  const folder = join(shared, "models/all-minilm-l6");
  const path = join(shared, "../golden/data/token_ids.json");
  if (!existsSync(folder) || !existsSync(path)) {
    t.log(`skipped: no ${folder} or no ${path}`);
    return t.pass();
  }
  checkAll(t, await loadTokenizer(folder), await readGolden(path));
});
