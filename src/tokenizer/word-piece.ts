import { TokenizerError } from "../errors.js";
import type { WordModel } from "./pipeline.js";

export interface WordPiece {
  vocabulary: Readonly<Record<string, number>>;
  unknownToken: string;
  /** What marks, in the vocabulary, a piece that does not begin a word. */
  continuingPrefix: string;
  /** A longer word, in characters, is unknown as a whole. */
  maxWordLength: number;
}

/**
 * Cuts a word into the longest pieces of the vocabulary, from left to right (Wu et al. 2016); a word with a part that
 * the vocabulary lacks is unknown as a whole. No piece longer than the vocabulary's longest is tried, so that the time
 * grows with the length of the word alone.
 *
 * @param path named in errors
 */
export function createWordPiece(model: WordPiece, path: string): WordModel {
  const { continuingPrefix, maxWordLength } = model;
  const beginning = new Map<string, number>(Object.entries(model.vocabulary));
  const continuing = new Map<string, number>();
  let longest = 0;
  for (const [token, id] of beginning) {
    if (token.startsWith(continuingPrefix)) continuing.set(token.slice(continuingPrefix.length), id);
    longest = Math.max(longest, token.length);
  }
  const unknownId = beginning.get(model.unknownToken);
  if (unknownId === undefined) {
    throw new TokenizerError(`${path}: the unknown token ${model.unknownToken} is not in model.vocab`);
  }

  return (word) => {
    if (word.length > maxWordLength && [...word].length > maxWordLength) return [unknownId];
    const ids: number[] = [];
    let start = 0;
    while (start < word.length) {
      const pieces = start === 0 ? beginning : continuing;
      let end = Math.min(word.length, start + longest);
      let id: number | undefined;
      while (end > start && (id = pieces.get(word.slice(start, end))) === undefined) end -= 1;
      if (id === undefined) return [unknownId];
      ids.push(id);
      start = end;
    }
    return ids;
  };
}
