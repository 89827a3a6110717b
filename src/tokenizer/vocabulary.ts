import { TokenizerError } from "../errors.js";
import { splitBertWords, normalizeBertText } from "./bert-text.js";
import type { AddedToken } from "./added-tokens.js";
import type { Pipeline } from "./pipeline.js";
import { bertTemplate } from "./template.js";
import type { NamedToken, TokenizerConfig } from "./tokenizer-config.js";
import { createWordPiece } from "./word-piece.js";

/** The special tokens of BERT, where tokenizer_config.json does not name others. */
const usual = { unk: "[UNK]", cls: "[CLS]", sep: "[SEP]", pad: "[PAD]", mask: "[MASK]" } as const;

/**
 * A WordPiece tokenizer from a vocab.txt alone: one token a line, its id the line number from 0, with the settings of
 * the original BERT where the config is silent: lower case, ideographs apart.
 *
 * @param content the whole file
 * @param path named in errors
 */
export function parseVocabulary(content: string, path: string, config: TokenizerConfig): Pipeline {
  const lines = content.split(/\r\n|\n|\r/);
  if (lines.at(-1) === "") lines.pop();
  // Object.fromEntries, unlike assignment, also takes "__proto__" for a token.
  const vocabulary: Record<string, number> = Object.fromEntries(lines.map((token, line) => [token, line]));
  const idOf = ({ content }: NamedToken): number => {
    const id = Object.hasOwn(vocabulary, content) ? vocabulary[content] : undefined;
    if (id !== undefined) return id;
    throw new TokenizerError(`${path} lacks the special token ${content}`, {
      hint: "Name the special tokens in tokenizer_config.json, or check that the file is a WordPiece vocabulary.",
    });
  };
  const special = (role: keyof typeof usual): NamedToken => config.specialTokens[role] ?? { content: usual[role] };
  const named = [special("unk"), special("cls"), special("sep"), special("pad"), special("mask"), ...config.others];
  const text = { cleanText: true, separateIdeographs: true, stripAccents: null, lowercase: true, ...config.text };
  return {
    normalize: (part) => normalizeBertText(part, text),
    splitWords: splitBertWords,
    model: createWordPiece(
      { vocabulary, unknownToken: special("unk").content, continuingPrefix: "##", maxWordLength: 100 },
      path,
    ),
    addedTokens: named.map((token) => specialToken(token, idOf(token))),
    template: bertTemplate(idOf(special("cls")), idOf(special("sep"))),
    vocabularySize: lines.length,
    wordsAreApart: true,
  };
}

/** A special token with what its file leaves out: found as it is written, whatever stands beside it. */
export function specialToken(token: NamedToken, id: number): AddedToken {
  return { normalized: false, singleWord: false, stripLeft: false, stripRight: false, ...token, id };
}
