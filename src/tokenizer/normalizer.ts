import type { FromSchema } from "json-schema-to-ts";

import { TokenizerError } from "../errors.js";
import { lowercase, normalizeBertText, type BertTextSettings } from "./bert-text.js";
import { characterClass } from "./character-class.js";
import { createPrecompiled } from "./precompiled.js";
import { accents, keptWhole } from "./unicode-characters.js";

/** What happens to a text before it is cut into words. */
export type Normalizer = (text: string) => string;

/** Kinds of `normalizer` in a tokenizer.json; those in a `Sequence` are of these kinds, too. */
const steps = [
  {
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
  {
    type: "object",
    properties: { type: { const: "Precompiled" }, precompiled_charsmap: { type: "string" } },
    required: ["type", "precompiled_charsmap"],
  },
  {
    type: "object",
    properties: {
      type: { const: "Replace" },
      pattern: {
        type: "object",
        properties: { String: { type: "string", minLength: 1 }, Regex: { type: "string", minLength: 1 } },
        minProperties: 1,
        maxProperties: 1,
      },
      content: { type: "string" },
    },
    required: ["type", "pattern", "content"],
  },
  {
    type: "object",
    properties: {
      type: { const: "Strip" },
      strip_left: { type: "boolean" },
      strip_right: { type: "boolean" },
    },
    required: ["type", "strip_left", "strip_right"],
  },
  {
    type: "object",
    properties: { type: { enum: ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"] } },
    required: ["type"],
  },
] as const;

export const normalizerSchema = {
  type: "object",
  discriminator: { propertyName: "type" },
  required: ["type"],
  oneOf: [
    ...steps,
    {
      type: "object",
      properties: {
        type: { const: "Sequence" },
        normalizers: {
          type: "array",
          items: { type: "object", discriminator: { propertyName: "type" }, required: ["type"], oneOf: steps },
        },
      },
      required: ["type", "normalizers"],
    },
  ],
} as const;

export type NormalizerJson = FromSchema<typeof normalizerSchema>;
type StepJson = FromSchema<(typeof steps)[number]>;

/**
 * @param json null: the text stays as it is
 * @param bert prevails over what the file says about BERT's clean-up
 * @param path named in errors
 */
export function createNormalizer(
  json: NormalizerJson | null,
  bert: Partial<BertTextSettings>,
  path: string,
): Normalizer {
  const steps = json === null ? [] : json.type === "Sequence" ? json.normalizers : [json];
  const functions = steps.map((step) => createStep(step, bert, path));
  return (text) => functions.reduce((result, normalize) => normalize(result), text);
}

function createStep(json: StepJson, bert: Partial<BertTextSettings>, path: string): Normalizer {
  switch (json.type) {
    case "BertNormalizer": {
      const settings: BertTextSettings = {
        cleanText: json.clean_text ?? true,
        separateIdeographs: json.handle_chinese_chars ?? true,
        stripAccents: json.strip_accents ?? null,
        lowercase: json.lowercase ?? true,
        ...bert,
      };
      return (text) => normalizeBertText(text, settings);
    }
    case "Precompiled":
      return createPrecompiled(json.precompiled_charsmap, path);
    case "Replace": {
      const { content } = json;
      const pattern = json.pattern.String ?? plainRegex(json.pattern.Regex ?? "", path);
      return (text) => text.replaceAll(pattern, () => content);
    }
    case "Strip": {
      const { strip_left: left, strip_right: right } = json;
      return (text) => strip(text, left, right);
    }
    case "Lowercase":
      return lowercase;
    case "StripAccents":
      return (text) => text.replace(anyAccent, "");
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return (text) => text.replace(decomposable, (part) => part.normalize(json.type));
  }
}

const anyAccent = new RegExp(`[${characterClass(accents)}]`, "gu");
const decomposable = new RegExp(`[^${characterClass(keptWhole)}]+`, "gu");
const whiteSpace = /\p{White_Space}/u;

/** Without the white space at its ends. */
function strip(text: string, left: boolean, right: boolean): string {
  let start = 0;
  let end = text.length;
  if (left) while (start < end && whiteSpace.test(text[start]!)) start += 1;
  if (right) while (end > start && whiteSpace.test(text[end - 1]!)) end -= 1;
  return text.slice(start, end);
}

/**
 * The reference's regular expressions are those of another engine (Oniguruma). Where they hold only plain characters and
 * counts, such as " {2,}", both engines mean the same.
 */
function plainRegex(source: string, path: string): RegExp {
  if (!/[\\^$.()[\]|]/.test(source)) {
    try {
      return new RegExp(source, "gu");
    } catch {
      // Falls through to the one error.
    }
  }
  throw new TokenizerError(`${path}: normalizer has the pattern ${JSON.stringify(source)}, which is not supported`, {
    hint: "Supported are strings, and patterns of plain characters with counts.",
  });
}
