import { resolve } from "node:path";

import { ConfigError, TokenizerError } from "../errors.js";
import { parseMerges } from "./merges.js";
import { createTextTokenizer, type Pipeline } from "./pipeline.js";
import { fillTemplate, specialTokenCount } from "./template.js";
import { longestFirst, TokenStream } from "./token-stream.js";
import { parseTokenizerConfig } from "./tokenizer-config.js";
import { sentencePieceFiles, TokenizerFiles } from "./tokenizer-files.js";
import { parseTokenizerJson } from "./tokenizer-json.js";
import { parseVocabulary } from "./vocabulary.js";

export interface EncodedText {
  /** At most `maxLength` ids, special tokens among them, no padding. */
  tokenIds: number[];
  /** The segment (token type) of each id. */
  segmentIds: number[];
}

export interface Tokenizer {
  /**
   * The ids of one text or of a pair, cut longest first to `maxLength` as transformers does. As there, an empty second
   * text counts as none. Half of a broken surrogate pair, which no UTF-8 text can hold, counts as U+FFFD.
   *
   * @throws ConfigError when `maxLength` has no room for the special tokens
   */
  encode(text: string, pair: string | null, maxLength: number): EncodedText;
  /** Absolute paths of the tokenizer's own files; a saved model keeps copies of them. */
  readonly files: string[];
  /** One more than the highest id. */
  readonly vocabularySize: number;
}

/**
 * Reads the tokenizer of a model folder: tokenizer.json, else vocab.txt, else vocab.json with merges.txt; what
 * tokenizer_config.json says about case, accents, ideographs and the blank before the first word prevails, as in
 * transformers. Truncation and padding set in tokenizer.json are ignored.
 *
 * @throws TokenizerError when none of these is there, or one of them is broken or of a kind that is not supported
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const files = await TokenizerFiles.read(resolve(folder));
  return createTokenizer(readPipeline(files), files.paths);
}

function readPipeline(files: TokenizerFiles): Pipeline {
  const config = parseTokenizerConfig(
    { ...files.record("special_tokens_map.json"), ...files.record("tokenizer_config.json") },
    files.path("tokenizer_config.json"),
  );
  if (files.has("tokenizer.json")) {
    return parseTokenizerJson(files.json("tokenizer.json"), files.path("tokenizer.json"), config);
  }
  if (files.has("vocab.txt")) {
    if (files.has("added_tokens.json")) {
      throw new TokenizerError(`${files.root} has an added_tokens.json beside vocab.txt, which is not supported`, {
        hint: "Load the tokenizer with transformers and save it again: that writes a tokenizer.json.",
      });
    }
    return parseVocabulary(files.text("vocab.txt"), files.path("vocab.txt"), config);
  }
  if (files.has("vocab.json") && files.has("merges.txt")) {
    return parseMerges(
      {
        vocabulary: { content: files.record("vocab.json"), path: files.path("vocab.json") },
        merges: { content: files.text("merges.txt"), path: files.path("merges.txt") },
        addedTokens: { content: files.record("added_tokens.json"), path: files.path("added_tokens.json") },
      },
      config,
    );
  }
  const sentencePiece = sentencePieceFiles.find((name) => files.has(name));
  if (sentencePiece !== undefined) {
    throw new TokenizerError(`${files.root} has its tokenizer as ${sentencePiece} only, which is not read`, {
      hint: `Write a tokenizer.json, once: python -c "from transformers import AutoTokenizer as T; T.from_pretrained('${files.root}').save_pretrained('${files.root}')"`,
    });
  }
  throw new TokenizerError(
    `no tokenizer in ${files.root}: looked for tokenizer.json, vocab.txt, and vocab.json with merges.txt`,
    { hint: "Copy the tokenizer's files from where the model comes from into the model's folder." },
  );
}

function createTokenizer(pipeline: Pipeline, files: string[]): Tokenizer {
  const { template, vocabularySize, normalize, addedTokens } = pipeline;
  const tokenize = createTextTokenizer(pipeline);
  // A token with a blank in it, or one that takes blanks along, could lie across a cut.
  const divisible =
    pipeline.wordsAreApart &&
    addedTokens.every(
      ({ content, stripRight }) => !stripRight && !/\s/.test(content) && !/\s/.test(normalize(content)),
    );
  const stream = (text: string): TokenStream =>
    new TokenStream(text.replace(/\p{Surrogate}/gu, "\uFFFD"), tokenize, divisible);

  return {
    files,
    vocabularySize,
    encode(text, pair, maxLength) {
      const pieces = pair ? template.pair : template.single;
      const room = maxLength - specialTokenCount(pieces);
      if (!Number.isInteger(room) || room < 0) {
        throw new ConfigError(
          `maxLength ${maxLength} is too short: the special tokens alone are ${specialTokenCount(pieces)}`,
        );
      }
      const a = stream(text);
      if (!pair) return fillTemplate(pieces, { a: a.take(room), b: [] });
      const b = stream(pair);
      const [keptA, keptB] = longestFirst(a, b, room);
      return fillTemplate(pieces, { a: a.take(keptA), b: b.take(keptB) });
    },
  };
}
