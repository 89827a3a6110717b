/**
 * The part of @huggingface/tokenizers that is used here. Its own declarations name their files without extensions,
 * which TypeScript does not resolve in an ES module, so the few members that are used are declared again.
 */
import * as library from "@huggingface/tokenizers";

import { normalizeBertText, splitBertWords, type BertTextSettings } from "./bert-text.js";
import { createWordPiece, type WordPiece } from "./word-piece.js";

/** A word that is looked for in the text before it is cut up. */
export interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  /** Looked for in the cleaned-up text, not in the text as it came. */
  normalized: boolean;
}

interface LibraryTokenizer {
  normalizer: (text: string) => string;
  pre_tokenizer: (text: string) => string[];
  model: { encode: (words: string[]) => string[] };
  tokenize(text: string): string[];
  token_to_id(token: string): number | undefined;
}

const { Tokenizer } = library as unknown as {
  Tokenizer: new (tokenizer: Record<string, unknown>, config: Record<string, unknown>) => LibraryTokenizer;
};

/**
 * A function from a text to its token ids, without the special tokens of the template and without truncation.
 *
 * Four steps of the library's pipeline are replaced. Its clean-up leaves ideographs beyond U+FFFF together, lower-cases
 * before it strips accents and treats a final sigma apart; its clean-up and its word splitting use the character tables
 * of Node.js; its WordPiece takes milliseconds for one long unknown word, and minutes for a megabyte of them; and it
 * finds special tokens in the cleaned-up text, too, so that "<USER>" becomes the token "<user>".
 */
export function createTextTokenizer(
  model: WordPiece,
  addedTokens: AddedToken[],
  settings: BertTextSettings,
): (text: string) => number[] {
  const normalize = (text: string): string => normalizeBertText(text, settings);
  const wordPiece = createWordPiece(model);
  const tokenizer = new Tokenizer(
    {
      model: { type: "WordPiece", vocab: model.vocabulary, unk_token: model.unknownToken },
      // Cleaned up here already, since the library would do it with its own normalizer.
      added_tokens: addedTokens
        .filter(({ normalized }) => normalized)
        .map((token) => ({ ...token, content: normalize(token.content) })),
      normalizer: { type: "BertNormalizer" },
      pre_tokenizer: { type: "BertPreTokenizer" },
      post_processor: null,
      decoder: null,
    },
    {},
  );
  tokenizer.normalizer = normalize;
  tokenizer.pre_tokenizer = splitBertWords;
  tokenizer.model.encode = (words) => words.flatMap(wordPiece);

  const verbatim = new Map(addedTokens.filter(({ normalized }) => !normalized).map(({ content, id }) => [content, id]));
  const idOf = (token: string): number => tokenizer.token_to_id(token) ?? model.vocabulary[model.unknownToken]!;
  const pieceIds = (piece: string): number[] => {
    const id = verbatim.get(piece);
    return id === undefined ? tokenizer.tokenize(piece).map(idOf) : [id];
  };
  if (verbatim.size === 0) return pieceIds;
  const separator = anyOf([...verbatim.keys()]);
  return (text) => text.split(separator).flatMap(pieceIds);
}

/** Matches the longest of the given strings, and keeps it when it separates. */
function anyOf(strings: string[]): RegExp {
  const escaped = strings
    .toSorted((a, b) => b.length - a.length)
    .map((string) => string.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`(${escaped.join("|")})`);
}
