import { Ajv } from "ajv";
import type { FromSchema } from "json-schema-to-ts";

import { TokenizerError } from "../errors.js";
import type { Pipeline } from "./pipeline.js";
import { bertTemplate, type TemplatePiece } from "./template.js";

const item = {
  type: "object",
  properties: {
    SpecialToken: {
      type: "object",
      properties: { id: { type: "string" }, type_id: { type: "integer", minimum: 0 } },
      required: ["id", "type_id"],
    },
    Sequence: {
      type: "object",
      properties: { id: { enum: ["A", "B"] }, type_id: { type: "integer", minimum: 0 } },
      required: ["id", "type_id"],
    },
  },
  minProperties: 1,
  maxProperties: 1,
} as const;

const tokenAndId = {
  type: "array",
  items: [{ type: "string" }, { type: "integer", minimum: 0 }],
  minItems: 2,
  maxItems: 2,
} as const;

/** The kind of tokenizer.json that BERT, DistilBERT and ELECTRA have. Old files leave out the model's type. */
const schema = {
  type: "object",
  properties: {
    added_tokens: {
      type: "array",
      items: {
        type: "object",
        properties: {
          id: { type: "integer", minimum: 0 },
          content: { type: "string", minLength: 1 },
          single_word: { const: false },
          normalized: { type: "boolean" },
          special: { type: "boolean" },
        },
        required: ["id", "content"],
      },
    },
    normalizer: {
      type: "object",
      properties: {
        type: { const: "BertNormalizer" },
        clean_text: { type: "boolean" },
        handle_chinese_chars: { type: "boolean" },
        strip_accents: { type: ["boolean", "null"] },
        lowercase: { type: "boolean" },
      },
      required: ["type"],
    },
    pre_tokenizer: { type: "object", properties: { type: { const: "BertPreTokenizer" } }, required: ["type"] },
    post_processor: {
      type: "object",
      properties: {
        type: { enum: ["TemplateProcessing", "BertProcessing"] },
        single: { type: "array", items: item },
        pair: { type: "array", items: item },
        special_tokens: {
          type: "object",
          additionalProperties: {
            type: "object",
            properties: { ids: { type: "array", items: { type: "integer", minimum: 0 } } },
            required: ["ids"],
          },
        },
        cls: tokenAndId,
        sep: tokenAndId,
      },
      required: ["type"],
    },
    model: {
      type: "object",
      properties: {
        type: { const: "WordPiece" },
        vocab: { type: "object", additionalProperties: { type: "integer", minimum: 0 } },
        unk_token: { type: "string" },
        continuing_subword_prefix: { type: "string" },
        max_input_chars_per_word: { type: "integer", minimum: 1 },
      },
      required: ["vocab"],
    },
  },
  required: ["normalizer", "pre_tokenizer", "post_processor", "model"],
} as const;

type TokenizerJson = FromSchema<typeof schema>;

const validate = new Ajv({ strict: false }).compile<TokenizerJson>(schema);

/**
 * A tokenizer.json as `tokenizers` writes it. The truncation and padding in it are not read: they are what somebody
 * once did with it, and the caller says what to do now.
 *
 * @param raw the parsed file
 * @param path named in errors
 */
export function parseTokenizerJson(raw: unknown, path: string): Pipeline {
  const kind = modelKind(raw);
  if (kind !== null && kind !== "WordPiece") {
    throw new TokenizerError(`${path} holds a ${kind} tokenizer, which is not supported`, {
      hint: "Supported are WordPiece tokenizers, which BERT, DistilBERT and ELECTRA have.",
    });
  }
  if (!validate(raw)) {
    const error = validate.errors?.[0];
    const place = error?.instancePath.slice(1).replaceAll("/", ".") || "the file";
    throw new TokenizerError(`${path}: ${place} ${error?.message ?? "is not valid"}`, {
      hint: "Supported are WordPiece tokenizers with BertNormalizer, BertPreTokenizer and a template of special tokens.",
    });
  }
  const { normalizer, model } = raw;
  const unknownToken = model.unk_token ?? "[UNK]";
  if (!Object.hasOwn(model.vocab, unknownToken)) {
    throw new TokenizerError(`${path}: the unknown token ${unknownToken} is not in model.vocab`);
  }
  return {
    text: {
      cleanText: normalizer.clean_text ?? true,
      separateIdeographs: normalizer.handle_chinese_chars ?? true,
      stripAccents: normalizer.strip_accents ?? null,
      lowercase: normalizer.lowercase ?? true,
    },
    addedTokens: (raw.added_tokens ?? []).map(({ id, content, special = false, normalized = !special }) => ({
      id,
      content,
      special,
      normalized,
    })),
    model: {
      vocabulary: model.vocab,
      unknownToken,
      continuingPrefix: model.continuing_subword_prefix ?? "##",
      maxWordLength: model.max_input_chars_per_word ?? 100,
    },
    template: parseTemplate(raw.post_processor, path),
  };
}

function modelKind(raw: unknown): string | null {
  if (typeof raw !== "object" || raw === null || !("model" in raw)) return null;
  const model = raw.model;
  if (typeof model !== "object" || model === null || !("type" in model)) return null;
  return typeof model.type === "string" ? model.type : null;
}

function parseTemplate(processor: TokenizerJson["post_processor"], path: string): Pipeline["template"] {
  if (processor.type === "BertProcessing") {
    if (!processor.cls || !processor.sep) throw new TokenizerError(`${path}: post_processor lacks cls or sep`);
    return bertTemplate(processor.cls[1], processor.sep[1]);
  }
  const { single, pair, special_tokens: specialTokens = {} } = processor;
  if (!single || !pair) throw new TokenizerError(`${path}: post_processor lacks single or pair`);
  const pieces = (items: NonNullable<typeof single>): TemplatePiece[] =>
    items.flatMap<TemplatePiece>(({ SpecialToken, Sequence }) => {
      if (Sequence) return [{ text: Sequence.id === "A" ? "a" : "b", segment: Sequence.type_id }];
      if (!SpecialToken) throw new TokenizerError(`${path}: post_processor has a piece of an unknown kind`);
      const ids = specialTokens[SpecialToken.id]?.ids;
      if (!ids) throw new TokenizerError(`${path}: post_processor.special_tokens lacks ${SpecialToken.id}`);
      return ids.map((tokenId) => ({ tokenId, segment: SpecialToken.type_id }));
    });
  return { single: pieces(single), pair: pieces(pair) };
}
