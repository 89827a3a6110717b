import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { letters, numbers } from "#src/tokenizer/byte-level-characters.js";
import { createNormalizer } from "#src/tokenizer/normalizer.js";
import { loadTokenizer } from "#src/tokenizer/tokenizer.js";
import { accents } from "#src/tokenizer/unicode-characters.js";
import test from "ava";

import { folderWith, tokenizerKind, tokenizerKinds } from "../helpers/tokenizer-folder.js";

/** As scripts/make-tokenizer-fixtures.py writes it. */
interface Reference {
  cases: { text: string; pair: string | null; max_length: number; input_ids: number[]; token_type_ids: number[] }[];
}

const characters = JSON.parse(await readFile("test/fixtures/tokenizer/characters.json", "utf8")) as Record<
  "letters" | "numbers" | "accents" | "decomposed",
  string
>;

for (const kind of [...tokenizerKinds, "roberta-files"]) {
  test(`random odd texts get the ids and segments of the reference: ${kind}`, async (t) => {
    const tokenizer = await loadTokenizer(tokenizerKind(kind));
    const path = join(tokenizerKind(kind.replace("-files", "")), "reference.json");
    const { cases } = JSON.parse(await readFile(path, "utf8")) as Reference;
    t.is(cases.length, 123);
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
  for (const [name, table] of Object.entries({ letters, numbers, accents })) {
    t.is(table.trim().split(/\s+/).join(" "), characters[name as keyof typeof characters], name);
  }
});

test("the characters that are decomposed are those of the reference, whatever Unicode this Node knows", (t) => {
  const decompose = createNormalizer({ type: "NFKD" }, {}, "here");
  const expected = new Set<number>();
  for (const range of characters.decomposed.split(" ")) {
    const [first, last = first] = range.split("-").map((point) => parseInt(point, 16)) as [number, number?];
    for (let point = first; point <= last; point++) expected.add(point);
  }
  const different: string[] = [];
  for (let point = 0; point < 0x110000; point++) {
    if (point >= 0xd800 && point < 0xe000) continue;
    const character = String.fromCodePoint(point);
    if ((decompose(character) !== character) !== expected.has(point)) different.push(point.toString(16));
  }
  t.deepEqual(different, []);
});

test("a long text keeps the ids that it has uncut, in every kind", async (t) => {
  const text = `It's the  cat's parcel,\tn° 12 \u3000"日本 e\u0301" <mask> \n\n ${" ".repeat(30)}`.repeat(1000);
  for (const kind of tokenizerKinds) {
    const tokenizer = await loadTokenizer(tokenizerKind(kind));
    const whole = tokenizer.encode(text, null, 10_000_000).tokenIds;
    const { tokenIds } = tokenizer.encode(text, null, 5000);
    const frame = tokenizer.encode("", null, 16).tokenIds.length;
    const begins = kind === "xlnet" ? 0 : 1;
    const kept = 5000 - frame;
    t.deepEqual(tokenIds.slice(begins, begins + kept), whole.slice(begins, begins + kept), kind);
  }
});

const megabytes: Record<string, string> = {
  words: "lorem ipsum dolor ".repeat(60_000),
  "one word": "x".repeat(1_000_000),
  blanks: " ".repeat(1_000_000),
  ideographs: "\u65e5".repeat(333_333),
  NULs: "\u0000".repeat(1_000_000),
};

for (const kind of tokenizerKinds) {
  test(`a megabyte of anything is cut to 128 tokens in good time: ${kind}`, async (t) => {
    t.timeout(120_000);
    const tokenizer = await loadTokenizer(tokenizerKind(kind));
    for (const [what, text] of Object.entries(megabytes)) {
      const started = performance.now();
      const { tokenIds } = tokenizer.encode(text, null, 128);
      const seconds = (performance.now() - started) / 1000;
      t.true(tokenIds.length <= 128);
      t.true(seconds < 15, `${what}: ${seconds} s`);
      t.log(`${what}: ${seconds.toFixed(2)} s`);
    }
  });
}

test("scores are read as the reference reads them, to the last bit, which decides between equal cuts", async (t) => {
  const scores = { "<unk>": 0, "▁": -1.7393481440830723, ".": -4.273404447574167, "..": -6.7683148524115415 };
  const json = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    post_processor: { type: "BertProcessing", cls: ["<unk>", 0], sep: ["<unk>", 0] },
    model: { type: "Unigram", unk_id: 0, vocab: Object.entries(scores) },
  };
  const tokenizer = await loadTokenizer(await folderWith(t, { "tokenizer.json": json }));
  // "▁", ".", "..": as tokenizers 0.23.3 cuts it; with the scores as JavaScript reads them "▁", "..", "." is better.
  t.deepEqual(tokenizer.encode("...", null, 8).tokenIds, [0, 1, 2, 3, 0]);
});
