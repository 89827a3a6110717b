import { readFile } from "node:fs/promises";

import * as characters from "#src/tokenizer/bert-characters.js";
import { loadTokenizer, type Tokenizer } from "#src/tokenizer/tokenizer.js";
import test from "ava";

import { bertTokenizerJson, folderWith } from "../helpers/tokenizer-folder.js";

/** As scripts/make-tokenizer-reference.py writes it. */
interface Reference {
  characters: Record<"removed" | "ideographs" | "marks" | "punctuation", string>;
  cases: {
    settings: "uncased" | "cased" | "accents kept";
    text: string;
    pair: string | null;
    max_length: number;
    input_ids: number[];
    token_type_ids: number[];
  }[];
}

const reference = JSON.parse(await readFile("test/fixtures/tokenizer/reference.json", "utf8")) as Reference;

const normalizers = {
  uncased: { lowercase: true, strip_accents: null },
  cased: { lowercase: false, strip_accents: null },
  "accents kept": { lowercase: true, strip_accents: false },
};

for (const [name, normalizer] of Object.entries(normalizers)) {
  test(`random odd texts get the ids of the reference: ${name}`, async (t) => {
    const folder = await folderWith(t, { "tokenizer.json": await bertTokenizerJson(normalizer) });
    const tokenizer: Tokenizer = await loadTokenizer(folder);
    const cases = reference.cases.filter(({ settings }) => settings === name);
    t.is(cases.length, 120);
    for (const { text, pair, max_length: maxLength, input_ids: tokenIds, token_type_ids: segmentIds } of cases) {
      t.deepEqual(
        tokenizer.encode(text, pair, maxLength),
        { tokenIds, segmentIds },
        JSON.stringify({ text, pair, maxLength }),
      );
    }
  });
}

test("the character tables are those of the reference", (t) => {
  for (const [name, ranges] of Object.entries(reference.characters)) {
    const table = characters[name as keyof Reference["characters"]];
    t.is(table.trim().split(/\s+/).join(" "), ranges, name);
  }
});
