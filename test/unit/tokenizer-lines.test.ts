import { DataError } from "#src/errors.js";
import { tokenizeLines, type TokenizedLine } from "#src/tokenizer/lines.js";
import type { Tokenizer } from "#src/tokenizer/tokenizer.js";
import test from "ava";

/** One id per letter, so that results are readable. */
const letters: Tokenizer = {
  encode: (text, pair, maxLength) => {
    const codes = [...(text + (pair ?? ""))].map((letter) => letter.charCodeAt(0)).slice(0, maxLength);
    return { tokenIds: codes, segmentIds: codes.map((_, i) => (i < text.length ? 0 : 1)) };
  },
  files: [],
  vocabularySize: 128,
};

async function tokenized(lines: string[]): Promise<TokenizedLine[]> {
  const results: TokenizedLine[] = [];
  const options = { maxLength: 3, source: "standard input" };
  for await (const result of tokenizeLines(letters, streamOf(lines), options)) results.push(result);
  return results;
}

async function* streamOf(lines: string[]): AsyncGenerator<string> {
  yield* lines;
}

test("each line gives one result; other keys are ignored", async (t) => {
  t.deepEqual(
    await tokenized(['{"text": "a"}', '{"text": "a", "pair": "b", "id": 7}', '{"text": "abcd", "pair": null}']),
    [
      { input_ids: [97], token_type_ids: [0] },
      { input_ids: [97, 98], token_type_ids: [0, 1] },
      { input_ids: [97, 98, 99], token_type_ids: [0, 0, 0] },
    ],
  );
});

const bad: [line: string, message: string][] = [
  ["{", "standard input, line 2 is not JSON"],
  ["", "standard input, line 2 is not JSON"],
  ["[]", 'standard input, line 2 has no "text" that is a string'],
  ["null", 'standard input, line 2 has no "text" that is a string'],
  ['{"text": 1}', 'standard input, line 2 has no "text" that is a string'],
  ['{"text": "a", "pair": 1}', 'standard input, line 2 has a "pair" that is not a string'],
];

for (const [line, message] of bad) {
  test(`the bad line ${JSON.stringify(line)} is named by its number`, async (t) => {
    await t.throwsAsync(tokenized(['{"text": "a"}', line]), { instanceOf: DataError, message });
  });
}
