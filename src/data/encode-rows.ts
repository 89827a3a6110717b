import type { Tokenizer } from "../tokenizer/tokenizer.js";

/** Texts on their way to a tokenizer thread. */
export interface TextRow {
  text: string;
  pair: string | null;
}

/** The tokens of some rows, back to back. */
export interface EncodedRows {
  /** [T] */
  tokenIds: Int32Array<ArrayBuffer>;
  /** [T] */
  segmentIds: Int32Array<ArrayBuffer>;
  /** [rows] tokens of each. */
  lengths: Int32Array<ArrayBuffer>;
}

export function encodeRows(tokenizer: Tokenizer, rows: readonly TextRow[], maxLength: number): EncodedRows {
  const encoded = rows.map(({ text, pair }) => tokenizer.encode(text, pair, maxLength));
  const lengths = Int32Array.from(encoded, ({ tokenIds }) => tokenIds.length);
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const result = { tokenIds: new Int32Array(tokens), segmentIds: new Int32Array(tokens), lengths };
  let offset = 0;
  for (const { tokenIds, segmentIds } of encoded) {
    result.tokenIds.set(tokenIds, offset);
    result.segmentIds.set(segmentIds, offset);
    offset += tokenIds.length;
  }
  return result;
}
