import { DataError } from "../errors.js";
import type { Tokenizer } from "./tokenizer.js";

/** One line of the `tokenize` verb's output. */
export interface TokenizedLine {
  input_ids: number[];
  token_type_ids: number[];
}

/**
 * One result per line of JSONL {"text": string, "pair"?: string | null}; other keys are ignored.
 *
 * @param source named in errors, such as "standard input"
 * @throws DataError that names the first line, counted from 1, that is not of this form
 */
export async function* tokenizeLines(
  tokenizer: Tokenizer,
  lines: AsyncIterable<string>,
  { maxLength, source }: { maxLength: number; source: string },
): AsyncGenerator<TokenizedLine> {
  let number = 0;
  for await (const line of lines) {
    number += 1;
    const { text, pair } = parseLine(line, `${source}, line ${number}`);
    const { tokenIds, segmentIds } = tokenizer.encode(text, pair, maxLength);
    yield { input_ids: tokenIds, token_type_ids: segmentIds };
  }
}

function parseLine(line: string, place: string): { text: string; pair: string | null } {
  const hint = 'Each line is a JSON object like {"text": "one text", "pair": "another, or left out"}.';
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new DataError(`${place} is not JSON`, { hint, cause });
  }
  if (typeof value !== "object" || value === null || !("text" in value) || typeof value.text !== "string") {
    throw new DataError(`${place} has no "text" that is a string`, { hint });
  }
  const pair = "pair" in value ? value.pair : null;
  if (pair !== null && typeof pair !== "string") {
    throw new DataError(`${place} has a "pair" that is not a string`, { hint });
  }
  return { text: value.text, pair };
}
