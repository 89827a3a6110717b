export interface WordPiece {
  vocabulary: Record<string, number>;
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
 */
export function createWordPiece(model: WordPiece): (word: string) => string[] {
  const { continuingPrefix, unknownToken, maxWordLength } = model;
  const beginning = new Map<string, string>();
  const continuing = new Map<string, string>();
  let longest = 0;
  for (const token of Object.keys(model.vocabulary)) {
    beginning.set(token, token);
    if (token.startsWith(continuingPrefix)) continuing.set(token.slice(continuingPrefix.length), token);
    longest = Math.max(longest, token.length);
  }

  return (word) => {
    if (word.length > maxWordLength && [...word].length > maxWordLength) return [unknownToken];
    const tokens: string[] = [];
    let start = 0;
    while (start < word.length) {
      const pieces = start === 0 ? beginning : continuing;
      let end = Math.min(word.length, start + longest);
      let token: string | undefined;
      while (end > start && (token = pieces.get(word.slice(start, end))) === undefined) end -= 1;
      if (token === undefined) return [unknownToken];
      tokens.push(token);
      start = end;
    }
    return tokens;
  };
}
