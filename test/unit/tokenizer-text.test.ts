import { copyFile } from "node:fs/promises";
import { join } from "node:path";

import { loadTokenizer, type Tokenizer } from "#src/tokenizer/tokenizer.js";
import test, { type ExecutionContext } from "ava";

import { folderWith, vocabularyPath } from "../helpers/tokenizer-folder.js";

async function uncased(t: ExecutionContext): Promise<Tokenizer> {
  const folder = await folderWith(t, {});
  await copyFile(vocabularyPath, join(folder, "vocab.txt"));
  return loadTokenizer(folder);
}

test("half of a surrogate pair and NUL are dropped, and do not break a word", async (t) => {
  const tokenizer = await uncased(t);
  const whole = tokenizer.encode("hello world", null, 16);
  t.deepEqual(tokenizer.encode("hel\ud800lo\u0000 wor\udc00ld", null, 16), whole);
});

test("an empty second text counts as none, as in transformers; a blank one does not", async (t) => {
  const tokenizer = await uncased(t);
  t.deepEqual(tokenizer.encode("a", "", 16), { tokenIds: [101, 1037, 102], segmentIds: [0, 0, 0] });
  t.deepEqual(tokenizer.encode("a", " ", 16), { tokenIds: [101, 1037, 102, 102], segmentIds: [0, 0, 0, 1] });
  t.deepEqual(tokenizer.encode("", null, 16), { tokenIds: [101, 102], segmentIds: [0, 0] });
});

test("the longer text is cut first; of an odd number of places the longer one gets one more", async (t) => {
  const tokenizer = await uncased(t);
  const lengths = (a: number, b: number, maxLength: number): [number, number] => {
    const { tokenIds } = tokenizer.encode("a ".repeat(a), "b ".repeat(b), maxLength);
    return [tokenIds.filter((id) => id === 1037).length, tokenIds.filter((id) => id === 1038).length];
  };
  t.deepEqual(lengths(3, 4, 10), [3, 4]);
  t.deepEqual(lengths(2, 9, 10), [2, 5]);
  t.deepEqual(lengths(9, 2, 10), [5, 2]);
  t.deepEqual(lengths(8, 9, 10), [3, 4]);
  t.deepEqual(lengths(9, 8, 10), [4, 3]);
  t.deepEqual(lengths(9, 9, 10), [3, 4]);
  t.deepEqual(lengths(9, 8, 3), [0, 0]);
});

test("which of two long texts is longer is seen however long they are", async (t) => {
  const tokenizer = await uncased(t);
  const kept = (a: number, b: number): number =>
    tokenizer.encode("a ".repeat(a), "b ".repeat(b), 10).tokenIds.filter((id) => id === 1037).length;
  t.is(kept(30_001, 30_000), 4);
  t.is(kept(30_000, 30_001), 3);
  t.is(kept(30_000, 30_000), 3);
});

test("a long text keeps the tokens that it has uncut", async (t) => {
  const tokenizer = await uncased(t);
  const text = "Naïve [SEP] words, 日本 — co-operate\u0301d [MASK]ing! \n".repeat(2000);
  const whole = tokenizer.encode(text, null, 1_000_000).tokenIds;
  t.true(whole.length > 20_000);
  for (const maxLength of [3, 128, 1500, 5000]) {
    const { tokenIds } = tokenizer.encode(text, null, maxLength);
    t.deepEqual(tokenIds, [...whole.slice(0, maxLength - 1), 102]);
  }
  const inParts = text.split(" ").flatMap((part) => tokenizer.encode(part, null, 1_000_000).tokenIds.slice(1, -1));
  t.deepEqual(whole.slice(1, -1), inParts);
});

const megabytes: Record<string, string> = {
  words: "lorem ipsum dolor ".repeat(60_000),
  "one word": "x".repeat(1_000_000),
  "long unknown words": `${"qzxj".repeat(25)} `.repeat(10_000),
  punctuation: "!".repeat(1_000_000),
  "combining marks": `a${"\u0301".repeat(1_000_000)}`,
  ideographs: "\u65e5".repeat(1_000_000),
  "special tokens": "[CLS]".repeat(200_000),
  NULs: "\u0000".repeat(1_000_000),
};

for (const [what, text] of Object.entries(megabytes)) {
  test(`a megabyte of ${what} is cut to 128 tokens in good time`, async (t) => {
    const tokenizer = await uncased(t);
    const started = performance.now();
    const { tokenIds } = tokenizer.encode(text, null, 128);
    const seconds = (performance.now() - started) / 1000;
    t.true(tokenIds.length <= 128);
    t.is(tokenIds.at(0), 101);
    t.is(tokenIds.at(-1), 102);
    t.true(seconds < 15, `${seconds} s`);
  });
}

test("the time for unknown words grows with their number alone", async (t) => {
  const tokenizer = await uncased(t);
  const words = `${"qzxj".repeat(25)} `.repeat(1000);
  const started = performance.now();
  t.true(tokenizer.encode(words, null, 200_000).tokenIds.length > 1000);
  const seconds = (performance.now() - started) / 1000;
  // The library's own WordPiece takes more than 5 s here.
  t.true(seconds < 3, `${seconds} s`);
});
