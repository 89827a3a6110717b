/**
 * The part of @huggingface/tokenizers that is used here: finding added tokens in a text, and WordPiece. Its own
 * declarations name their files without extensions, which TypeScript does not resolve in an ES module, so the few
 * members that are used are declared again.
 */
import * as library from "@huggingface/tokenizers";

import { normalizeBertText, splitBertWords, type BertTextSettings } from "./bert-text.js";

export interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  normalized: boolean;
}

export interface WordPiece {
  vocabulary: Record<string, number>;
  unknownToken: string;
  continuingPrefix: string;
  /** A longer word, in characters, is unknown as a whole. */
  maxWordLength: number;
}

interface LibraryTokenizer {
  normalizer: (text: string) => string;
  pre_tokenizer: (text: string) => string[];
  tokenize(text: string): string[];
  token_to_id(token: string): number | undefined;
}

const { Tokenizer } = library as unknown as {
  Tokenizer: new (tokenizer: Record<string, unknown>, config: Record<string, unknown>) => LibraryTokenizer;
};

/**
 * A function from a text to its token ids, without the special tokens of the template and without truncation.
 * The library's clean-up and word splitting are replaced: they leave ideographs beyond U+FFFF unseparated, lower-case
 * before they strip accents, lower-case a final sigma differently, and use the character tables of Node.js.
 */
export function createWordPiece(
  model: WordPiece,
  addedTokens: AddedToken[],
  settings: BertTextSettings,
): (text: string) => number[] {
  const normalize = (text: string): string => normalizeBertText(text, settings);
  const tokenizer = new Tokenizer(
    {
      model: {
        type: "WordPiece",
        vocab: model.vocabulary,
        unk_token: model.unknownToken,
        continuing_subword_prefix: model.continuingPrefix,
        max_input_chars_per_word: model.maxWordLength,
      },
      // Cleaned up here already, since the library would do it with its own normalizer below.
      added_tokens: addedTokens.map((token) =>
        token.normalized ? { ...token, content: normalize(token.content) } : token,
      ),
      normalizer: { type: "BertNormalizer" },
      pre_tokenizer: { type: "BertPreTokenizer" },
      post_processor: null,
      decoder: null,
    },
    {},
  );
  tokenizer.normalizer = normalize;
  tokenizer.pre_tokenizer = splitBertWords;
  const unknown = model.vocabulary[model.unknownToken]!;
  return (text) => tokenizer.tokenize(text).map((token) => tokenizer.token_to_id(token) ?? unknown);
}
