import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";

import { ConfigError, TokenizerError } from "../errors.js";
import { normalizeBertText } from "./bert-text.js";
import { createTextTokenizer } from "./library.js";
import type { Pipeline } from "./pipeline.js";
import { fillTemplate, specialTokenCount } from "./template.js";
import { longestFirst, TokenStream } from "./token-stream.js";
import { parseTokenizerConfig } from "./tokenizer-config.js";
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

/** All files that say something about a tokenizer, in the order in which they are looked for. */
const fileNames = [
  "tokenizer.json",
  "vocab.txt",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
] as const;

/**
 * Reads the tokenizer of a model folder: tokenizer.json, else vocab.txt; what tokenizer_config.json says about case,
 * accents and ideographs prevails, as in transformers. Truncation and padding set in tokenizer.json are ignored.
 *
 * @throws TokenizerError when neither file is there, or one of them is broken or of a kind that is not supported
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const root = resolve(folder);
  const contents = new Map<string, string>();
  for (const name of fileNames) {
    const content = await readText(join(root, name));
    if (content !== null) contents.set(name, content);
  }

  const configPath = join(root, "tokenizer_config.json");
  const config = parseTokenizerConfig(
    asRecord(parseJson(contents.get("tokenizer_config.json") ?? "{}", configPath), configPath),
    configPath,
  );
  const tokenizerJson = contents.get("tokenizer.json");
  const vocabulary = contents.get("vocab.txt");
  let pipeline: Pipeline;
  if (tokenizerJson !== undefined) {
    const path = join(root, "tokenizer.json");
    pipeline = parseTokenizerJson(parseJson(tokenizerJson, path), path);
  } else if (vocabulary !== undefined) {
    if (contents.has("added_tokens.json")) {
      throw new TokenizerError(`${root} has an added_tokens.json beside vocab.txt, which is not supported`, {
        hint: "Load the tokenizer with transformers and save it again: that writes a tokenizer.json.",
      });
    }
    pipeline = parseVocabulary(vocabulary, join(root, "vocab.txt"), config);
  } else {
    throw new TokenizerError(`no tokenizer in ${root}: looked for tokenizer.json and vocab.txt`, {
      hint: "Copy the tokenizer's files from where the model comes from into the model's folder.",
    });
  }
  pipeline.text = { ...pipeline.text, ...config.text };
  return createTokenizer(
    pipeline,
    [...contents.keys()].map((name) => join(root, name)),
  );
}

function createTokenizer(pipeline: Pipeline, files: string[]): Tokenizer {
  const tokenize = createTextTokenizer(pipeline.model, pipeline.addedTokens, pipeline.text);
  // A token with a blank in it could lie across a cut.
  const divisible = pipeline.addedTokens.every(
    ({ content }) => !/\s/.test(content) && !/\s/.test(normalizeBertText(content, pipeline.text)),
  );
  const stream = (text: string): TokenStream =>
    new TokenStream(text.replace(/\p{Surrogate}/gu, "\uFFFD"), tokenize, divisible);
  const ids = [...Object.values(pipeline.model.vocabulary), ...pipeline.addedTokens.map(({ id }) => id)];

  return {
    files,
    vocabularySize: ids.reduce((highest, id) => Math.max(highest, id), -1) + 1,
    encode(text, pair, maxLength) {
      const template = pair ? pipeline.template.pair : pipeline.template.single;
      const room = maxLength - specialTokenCount(template);
      if (!Number.isInteger(room) || room < 0) {
        throw new ConfigError(
          `maxLength ${maxLength} is too short: the special tokens alone are ${specialTokenCount(template)}`,
        );
      }
      const a = stream(text);
      if (!pair) return fillTemplate(template, { a: a.take(room), b: [] });
      const b = stream(pair);
      const [keptA, keptB] = longestFirst(a, b, room);
      return fillTemplate(template, { a: a.take(keptA), b: b.take(keptB) });
    },
  };
}

/** The file's text, or null where there is no such file. */
async function readText(path: string): Promise<string | null> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return null;
    throw new TokenizerError(`${path} cannot be read`, { cause: error });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new TokenizerError(`${path} is not UTF-8 text`, { cause: error });
  }
}

function parseJson(content: string, path: string): unknown {
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new TokenizerError(`${path} is not JSON: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function asRecord(value: unknown, path: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new TokenizerError(`${path} must hold a JSON object`);
}
