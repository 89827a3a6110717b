import { TokenizerError } from "../errors.js";
import type { AddedToken } from "./added-tokens.js";
import { createBytePair } from "./byte-pair.js";
import type { Pipeline } from "./pipeline.js";
import { createPreTokenizer } from "./pre-tokenizer.js";
import { robertaTemplate } from "./template.js";
import type { NamedToken, TokenizerConfig } from "./tokenizer-config.js";
import { parseMerge } from "./tokenizer-json.js";
import { specialToken } from "./vocabulary.js";

/** The special tokens of RoBERTa and BART, where tokenizer_config.json does not name others. */
const usual = { bos: "<s>", pad: "<pad>", eos: "</s>", unk: "<unk>", cls: "<s>", sep: "</s>", mask: "<mask>" } as const;

/** Tokenizers that are written as vocab.json and merges.txt and that this reading of them is right for. */
const classes = new Set(["RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer"]);

/** Where the tokens and merges stand; `path` is named in errors. */
export interface MergesFiles {
  vocabulary: { content: Readonly<Record<string, unknown>>; path: string };
  merges: { content: string; path: string };
  /** Words that somebody added, with their ids; where there is no such file, none. */
  addedTokens: { content: Readonly<Record<string, unknown>>; path: string };
}

/**
 * A byte-level BPE tokenizer from vocab.json and merges.txt, as RoBERTa and BART were published: case and every
 * character matter, and a row is framed as <s> a </s></s> b </s>.
 */
export function parseMerges({ vocabulary, merges, addedTokens }: MergesFiles, config: TokenizerConfig): Pipeline {
  const { tokenizerClass } = config;
  if (tokenizerClass !== null && !classes.has(tokenizerClass)) {
    throw new TokenizerError(
      `${vocabulary.path} belongs to a ${tokenizerClass}, which is supported from tokenizer.json only`,
      {
        hint: "Load the tokenizer with transformers' AutoTokenizer and save it with save_pretrained: that writes a tokenizer.json.",
      },
    );
  }
  const ids = parseIds(vocabulary.content, vocabulary.path);
  const added = new Map<string, AddedToken>();
  const add = (token: NamedToken, id: number): void => void added.set(token.content, specialToken(token, id));
  for (const [content, id] of Object.entries(parseIds(addedTokens.content, addedTokens.path))) {
    // Words, unlike special tokens, are looked for in the cleaned-up text; here nothing is cleaned up.
    add({ content, normalized: true }, id);
  }
  for (const { id, ...token } of config.addedTokens) add(token, id);

  const special = (role: keyof typeof usual): NamedToken => config.specialTokens[role] ?? { content: usual[role] };
  const idOf = ({ content }: NamedToken): number => {
    const id = added.get(content)?.id ?? (Object.hasOwn(ids, content) ? ids[content] : undefined);
    if (id !== undefined) return id;
    throw new TokenizerError(`${vocabulary.path} lacks the special token ${content}`, {
      hint: "Name the special tokens in tokenizer_config.json, or check that the files are a vocabulary of RoBERTa or BART.",
    });
  };
  for (const token of [...Object.keys(usual).map((role) => special(role as keyof typeof usual)), ...config.others]) {
    if (!added.has(token.content)) add(token, idOf(token));
  }

  const bytePair = {
    vocabulary: ids,
    merges: merges.content
      .split(/\r?\n/)
      .filter((line) => line !== "" && !line.startsWith("#version"))
      .map((line) => parseMerge(line, merges.path)),
    unknownToken: null,
    fuseUnknown: false,
    ignoreMerges: false,
  };
  return {
    normalize: (text) => text,
    splitWords: createPreTokenizer({ type: "ByteLevel", add_prefix_space: false }, config.addPrefixSpace),
    model: createBytePair(bytePair, merges.path),
    addedTokens: [...added.values()],
    template: robertaTemplate(idOf(special("cls")), idOf(special("sep"))),
    vocabularySize:
      [...Object.values(ids), ...[...added.values()].map(({ id }) => id)].reduce((a, b) => Math.max(a, b), -1) + 1,
    wordsAreApart: true,
  };
}

function parseIds(raw: Readonly<Record<string, unknown>>, path: string): Record<string, number> {
  for (const [token, id] of Object.entries(raw)) {
    if (typeof id === "number" && Number.isInteger(id) && id >= 0) continue;
    throw new TokenizerError(
      `${path}: the id of ${JSON.stringify(token)} must be a whole number, not ${JSON.stringify(id)}`,
    );
  }
  return raw as Record<string, number>;
}
