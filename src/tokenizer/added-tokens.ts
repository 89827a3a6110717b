/** A token that is looked for in the text before it is cut into words: special tokens, and words that somebody added. */
export interface AddedToken {
  id: number;
  content: string;
  /** Looked for in the cleaned-up text, not in the text as it came. */
  normalized: boolean;
  /** Not found where a letter, digit or underscore touches it. */
  singleWord: boolean;
  /** Takes the white space before it along. */
  stripLeft: boolean;
  /** Takes the white space after it along. */
  stripRight: boolean;
}

/** A stretch of text without added tokens, or the id of one. */
export type TextPart = string | number;

/** A character of a word, as Unicode defines it for regular expressions. */
const wordBefore = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const wordAfter = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const whiteSpace = /\p{White_Space}/u;

/**
 * Cuts a text at the given tokens, the leftmost first and of several that begin there the longest.
 *
 * @param contentOf what to look for, where it is not the token's own content
 */
export function createTokenSplitter(
  tokens: readonly AddedToken[],
  contentOf: (token: AddedToken) => string = ({ content }) => content,
): (text: string) => TextPart[] {
  // Of two tokens that are written alike the later one counts.
  const byContent = new Map(tokens.map((token) => [contentOf(token), token]));
  byContent.delete("");
  if (byContent.size === 0) return (text) => (text === "" ? [] : [text]);
  const pattern = anyOf([...byContent.keys()]);

  return (text) => {
    const parts: TextPart[] = [];
    let end = 0;
    for (const match of text.matchAll(pattern)) {
      const token = byContent.get(match[0])!;
      let start = match.index;
      let stop = start + match[0].length;
      if (token.singleWord && touchesWord(text, start, stop)) continue;
      if (token.stripLeft) while (start > end && whiteSpace.test(text[start - 1]!)) start -= 1;
      if (token.stripRight) while (stop < text.length && whiteSpace.test(text[stop]!)) stop += 1;
      if (end < start) parts.push(text.slice(end, start));
      parts.push(token.id);
      end = stop;
    }
    if (end < text.length) parts.push(text.slice(end));
    return parts;
  };
}

function touchesWord(text: string, start: number, stop: number): boolean {
  // Two code units hold any character.
  return wordBefore.test(text.slice(Math.max(0, start - 2), start)) || wordAfter.test(text.slice(stop, stop + 2));
}

/** Matches the longest of the given strings. */
function anyOf(strings: string[]): RegExp {
  const escaped = strings
    .toSorted((a, b) => b.length - a.length)
    .map((string) => string.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(escaped.join("|"), "g");
}
