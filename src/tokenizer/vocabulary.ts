import { TokenizerError } from "../errors.js";
import type { Pipeline } from "./pipeline.js";
import { bertTemplate } from "./template.js";
import type { TokenizerConfig } from "./tokenizer-config.js";

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
  const idOf = (token: string): number => {
    const id = Object.hasOwn(vocabulary, token) ? vocabulary[token] : undefined;
    if (id !== undefined) return id;
    throw new TokenizerError(`${path} lacks the special token ${token}`, {
      hint: "Name the special tokens in tokenizer_config.json, or check that the file is a WordPiece vocabulary.",
    });
  };
  const { unk, cls, sep, others } = config.specialTokens;
  return {
    text: { cleanText: true, separateIdeographs: true, stripAccents: null, lowercase: true },
    addedTokens: [...new Set([unk, cls, sep, ...others])].map((content) => ({
      id: idOf(content),
      content,
      special: true,
      normalized: false,
    })),
    model: { vocabulary, unknownToken: unk, continuingPrefix: "##", maxWordLength: 100 },
    template: bertTemplate(idOf(cls), idOf(sep)),
  };
}
