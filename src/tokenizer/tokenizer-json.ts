import { Ajv, type ErrorObject } from "ajv";
import type { FromSchema } from "json-schema-to-ts";

import { TokenizerError } from "../errors.js";
import type { AddedToken } from "./added-tokens.js";
import { createBytePair } from "./byte-pair.js";
import { createNormalizer, normalizerSchema } from "./normalizer.js";
import type { Pipeline, WordModel } from "./pipeline.js";
import { createPreTokenizer, preTokenizerSchema } from "./pre-tokenizer.js";
import { bertTemplate, robertaTemplate, type Template, type TemplatePiece } from "./template.js";
import type { TokenizerConfig } from "./tokenizer-config.js";
import { createUnigram } from "./unigram.js";
import { createWordPiece } from "./word-piece.js";

const id = { type: "integer", minimum: 0 } as const;

const item = {
  type: "object",
  properties: {
    SpecialToken: {
      type: "object",
      properties: { id: { type: "string" }, type_id: id },
      required: ["id", "type_id"],
    },
    Sequence: {
      type: "object",
      properties: { id: { enum: ["A", "B"] }, type_id: id },
      required: ["id", "type_id"],
    },
  },
  minProperties: 1,
  maxProperties: 1,
} as const;

const tokenAndId = { type: "array", items: [{ type: "string" }, id], minItems: 2, maxItems: 2 } as const;

/** What frames a row; `ByteLevel` here only moves offsets, which nothing asks for. */
const processors = [
  {
    type: "object",
    properties: {
      type: { const: "TemplateProcessing" },
      single: { type: "array", items: item },
      pair: { type: "array", items: item },
      special_tokens: {
        type: "object",
        additionalProperties: {
          type: "object",
          properties: { ids: { type: "array", items: id } },
          required: ["ids"],
        },
      },
    },
    required: ["type", "single", "pair"],
  },
  {
    type: "object",
    properties: { type: { enum: ["BertProcessing", "RobertaProcessing"] }, cls: tokenAndId, sep: tokenAndId },
    required: ["type", "cls", "sep"],
  },
  { type: "object", properties: { type: { const: "ByteLevel" } }, required: ["type"] },
] as const;

const models = [
  {
    type: "object",
    properties: {
      type: { const: "WordPiece" },
      vocab: { type: "object", additionalProperties: id },
      unk_token: { type: "string" },
      continuing_subword_prefix: { type: "string" },
      max_input_chars_per_word: { type: "integer", minimum: 1 },
    },
    required: ["type", "vocab"],
  },
  {
    type: "object",
    properties: {
      type: { const: "BPE" },
      vocab: { type: "object", additionalProperties: id },
      merges: {
        type: "array",
        items: {
          anyOf: [{ type: "string" }, { type: "array", items: { type: "string" }, minItems: 2, maxItems: 2 }],
        },
      },
      unk_token: { type: ["string", "null"] },
      fuse_unk: { type: "boolean" },
      ignore_merges: { type: "boolean" },
      // What byte-level vocabularies never have. Dropout would make the ids random.
      dropout: { enum: [null, 0] },
      continuing_subword_prefix: { enum: [null, ""] },
      end_of_word_suffix: { enum: [null, ""] },
      byte_fallback: { const: false },
    },
    required: ["type", "vocab", "merges"],
  },
  {
    type: "object",
    properties: {
      type: { const: "Unigram" },
      unk_id: id,
      vocab: {
        type: "array",
        items: { type: "array", items: [{ type: "string" }, { type: "number" }], minItems: 2, maxItems: 2 },
        minItems: 1,
      },
      byte_fallback: { const: false },
    },
    required: ["type", "vocab", "unk_id"],
  },
] as const;

const schema = {
  type: "object",
  properties: {
    added_tokens: {
      type: "array",
      items: {
        type: "object",
        properties: {
          id,
          content: { type: "string", minLength: 1 },
          single_word: { type: "boolean" },
          lstrip: { type: "boolean" },
          rstrip: { type: "boolean" },
          normalized: { type: "boolean" },
          special: { type: "boolean" },
        },
        required: ["id", "content"],
      },
    },
    normalizer: normalizerSchema,
    pre_tokenizer: preTokenizerSchema,
    post_processor: {
      type: "object",
      discriminator: { propertyName: "type" },
      required: ["type"],
      oneOf: [
        ...processors,
        {
          type: "object",
          properties: {
            type: { const: "Sequence" },
            processors: {
              type: "array",
              items: { type: "object", discriminator: { propertyName: "type" }, required: ["type"], oneOf: processors },
            },
          },
          required: ["type", "processors"],
        },
      ],
    },
    model: { type: "object", discriminator: { propertyName: "type" }, required: ["type"], oneOf: models },
  },
  required: ["pre_tokenizer", "post_processor", "model"],
} as const;

type TokenizerJson = FromSchema<typeof schema>;
type ProcessorJson = FromSchema<(typeof processors)[number]>;
type ModelJson = FromSchema<(typeof models)[number]>;

const validate = new Ajv({ strict: false, discriminator: true }).compile<TokenizerJson>(schema);

const supported =
  "Supported are WordPiece tokenizers (BERT, DistilBERT, ELECTRA), byte-level BPE (RoBERTa, BART) and Unigram (XLNet, " +
  "XLM-RoBERTa) with a template of special tokens.";

/**
 * A tokenizer.json as `tokenizers` writes it. The truncation and padding in it are not read: they are what somebody
 * once did with it, and the caller says what to do now.
 *
 * @param raw the parsed file
 * @param path named in errors
 * @param config prevails where it says something
 */
export function parseTokenizerJson(raw: unknown, path: string, config: TokenizerConfig): Pipeline {
  const json = withModelType(raw);
  if (!validate(json)) throw invalid(validate.errors?.[0], path);
  const { normalizer = null, pre_tokenizer: preTokenizer } = json;
  const addedTokens = (json.added_tokens ?? []).map<AddedToken>((token) => ({
    id: token.id,
    content: token.content,
    normalized: token.normalized ?? !(token.special ?? false),
    singleWord: token.single_word ?? false,
    stripLeft: token.lstrip ?? false,
    stripRight: token.rstrip ?? false,
  }));
  const { model, ids } = parseModel(json.model, path);
  return {
    normalize: createNormalizer(normalizer, config.text, path),
    splitWords: createPreTokenizer(preTokenizer, config.addPrefixSpace),
    model,
    addedTokens,
    template: parseTemplate(json.post_processor, path),
    vocabularySize: [...ids, ...addedTokens.map((token) => token.id)].reduce((a, b) => Math.max(a, b), -1) + 1,
    wordsAreApart:
      (normalizer === null || normalizer.type === "BertNormalizer") &&
      (preTokenizer.type === "BertPreTokenizer" ||
        (preTokenizer.type === "ByteLevel" && preTokenizer["use_regex"] !== false)),
  };
}

/** Old files leave out the model's type, and `null` stands for no clean-up at all. */
function withModelType(raw: unknown): unknown {
  if (!isObject(raw)) return raw;
  const { normalizer, ...rest } = raw;
  const { model } = raw;
  const json = normalizer === null ? rest : raw;
  if (!isObject(model) || "type" in model) return json;
  const type = Array.isArray(model["vocab"]) ? "Unigram" : "merges" in model ? "BPE" : "WordPiece";
  return { ...json, model: { ...model, type } };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(error: ErrorObject | undefined, path: string): TokenizerError {
  const place = error?.instancePath.slice(1).replaceAll("/", ".") || "the file";
  if (error?.keyword === "discriminator" && typeof error.params["tagValue"] === "string") {
    const kind = error.params["tagValue"];
    const message = place === "model" ? `${path} holds a ${kind} tokenizer` : `${path}: ${place} is a ${kind}`;
    return new TokenizerError(`${message}, which is not supported`, { hint: supported });
  }
  return new TokenizerError(`${path}: ${place} ${error?.message ?? "is not valid"}`, { hint: supported });
}

function parseModel(json: ModelJson, path: string): { model: WordModel; ids: number[] } {
  switch (json.type) {
    case "WordPiece": {
      const wordPiece = {
        vocabulary: json.vocab,
        unknownToken: json.unk_token ?? "[UNK]",
        continuingPrefix: json.continuing_subword_prefix ?? "##",
        maxWordLength: json.max_input_chars_per_word ?? 100,
      };
      return { model: createWordPiece(wordPiece, path), ids: Object.values(json.vocab) };
    }
    case "BPE": {
      const bytePair = {
        vocabulary: json.vocab,
        merges: json.merges.map((merge) => parseMerge(merge, path)),
        unknownToken: json.unk_token ?? null,
        fuseUnknown: json.fuse_unk ?? false,
        ignoreMerges: json.ignore_merges ?? false,
      };
      return { model: createBytePair(bytePair, path), ids: Object.values(json.vocab) };
    }
    case "Unigram": {
      const vocabulary = json.vocab.map(([piece, score]) => [piece, readScore(score)] as const);
      if (json.unk_id >= vocabulary.length) {
        throw new TokenizerError(`${path}: model.unk_id ${json.unk_id} is not in model.vocab`);
      }
      return { model: createUnigram({ vocabulary, unknownId: json.unk_id }), ids: [vocabulary.length - 1] };
    }
  }
}

/**
 * A score as the reference's reader of JSON (serde_json) reads it: the digits as a whole number, rounded to a double,
 * over a power of ten, rounded again. That is off by the last bit for a quarter of all scores, and which of two cuts
 * with the same pieces in another order ("." and "..") is better depends on that bit.
 */
function readScore(score: number): number {
  const [mantissa = "0", power = "0"] = Math.abs(score).toExponential().split("e");
  const digits = mantissa.replace(".", "");
  const exponent = Number(power) - (digits.length - 1);
  const whole = Number(BigInt(digits));
  const value = exponent < 0 ? whole / Number(`1e${-exponent}`) : whole * Number(`1e${exponent}`);
  return score < 0 ? -value : value;
}

/** A merge as old files ("a b") or new ones (["a", "b"]) write it. */
export function parseMerge(merge: string | readonly unknown[], path: string): [string, string] {
  const [left, right, ...others] = typeof merge === "string" ? merge.split(" ") : (merge as string[]);
  if (left && right && others.length === 0) return [left, right];
  throw new TokenizerError(`${path}: the merge ${JSON.stringify(merge)} is not two tokens`);
}

function parseTemplate(json: TokenizerJson["post_processor"], path: string): Template {
  const steps = (json.type === "Sequence" ? json.processors : [json]) as ProcessorJson[];
  const [frame, ...others] = steps.filter(({ type }) => type !== "ByteLevel");
  if (frame !== undefined && others.length === 0) {
    switch (frame.type) {
      case "TemplateProcessing":
        return fromTemplateProcessing(frame, path);
      case "BertProcessing":
        return bertTemplate(frame.cls[1], frame.sep[1]);
      case "RobertaProcessing":
        return robertaTemplate(frame.cls[1], frame.sep[1]);
      case "ByteLevel":
    }
  }
  throw new TokenizerError(`${path}: post_processor is not one template of special tokens`, { hint: supported });
}

function fromTemplateProcessing(
  { single, pair, special_tokens: specialTokens = {} }: Extract<ProcessorJson, { type: "TemplateProcessing" }>,
  path: string,
): Template {
  const pieces = (items: typeof single): TemplatePiece[] =>
    items.flatMap<TemplatePiece>(({ SpecialToken, Sequence }) => {
      if (Sequence) return [{ text: Sequence.id === "A" ? "a" : "b", segment: Sequence.type_id }];
      if (!SpecialToken) throw new TokenizerError(`${path}: post_processor has a piece of an unknown kind`);
      const ids = specialTokens[SpecialToken.id]?.ids;
      if (!ids) throw new TokenizerError(`${path}: post_processor.special_tokens lacks ${SpecialToken.id}`);
      return ids.map((tokenId) => ({ tokenId, segment: SpecialToken.type_id }));
    });
  return { single: pieces(single), pair: pieces(pair) };
}
