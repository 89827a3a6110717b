import type { FromSchema } from "json-schema-to-ts";

import { splitBertWords } from "./bert-text.js";
import { splitByteLevelWords, toByteLetters } from "./byte-level.js";

/** Cuts a cleaned-up text into words, the units that the model cuts further. */
export type PreTokenizer = (text: string) => string[];

/** Kinds of `pre_tokenizer` in a tokenizer.json; those in a `Sequence` are of these kinds, too. */
const steps = [
  {
    type: "object",
    properties: { type: { enum: ["BertPreTokenizer", "WhitespaceSplit"] } },
    required: ["type"],
  },
  {
    type: "object",
    properties: { type: { const: "ByteLevel" }, add_prefix_space: { type: "boolean" }, use_regex: { type: "boolean" } },
    required: ["type"],
  },
  {
    type: "object",
    properties: {
      type: { const: "Metaspace" },
      replacement: { type: "string", minLength: 1 },
      // "first" goes by places in the text as it came, which are gone once it is cleaned up; no encoder's file has it.
      prepend_scheme: { enum: ["always", "never"] },
      split: { type: "boolean" },
      add_prefix_space: { type: "boolean" },
    },
    required: ["type", "replacement"],
  },
] as const;

export const preTokenizerSchema = {
  type: "object",
  discriminator: { propertyName: "type" },
  required: ["type"],
  oneOf: [
    ...steps,
    {
      type: "object",
      properties: {
        type: { const: "Sequence" },
        pretokenizers: {
          type: "array",
          items: { type: "object", discriminator: { propertyName: "type" }, required: ["type"], oneOf: steps },
        },
      },
      required: ["type", "pretokenizers"],
    },
  ],
} as const;

export type PreTokenizerJson = FromSchema<typeof preTokenizerSchema>;
type StepJson = FromSchema<(typeof steps)[number]>;

/** @param addPrefixSpace prevails over what the file says about `ByteLevel` */
export function createPreTokenizer(json: PreTokenizerJson, addPrefixSpace: boolean | null): PreTokenizer {
  const steps = (json.type === "Sequence" ? json.pretokenizers : [json]).map((step) =>
    createStep(step, addPrefixSpace),
  );
  return (text) => steps.reduce((words, split) => words.flatMap(split), [text]);
}

function createStep(json: StepJson, addPrefixSpace: boolean | null): PreTokenizer {
  switch (json.type) {
    case "BertPreTokenizer":
      return splitBertWords;
    case "WhitespaceSplit":
      return (text) => text.match(notWhiteSpace) ?? [];
    case "ByteLevel": {
      const prefixed = addPrefixSpace ?? json.add_prefix_space ?? true;
      const split = (json.use_regex ?? true) ? splitByteLevelWords : (text: string) => [text];
      return (text) => split(prefixed && !text.startsWith(" ") ? ` ${text}` : text).map(toByteLetters);
    }
    case "Metaspace":
      return createMetaspace(json.replacement, {
        prepends:
          json.prepend_scheme === undefined ? json.add_prefix_space !== false : json.prepend_scheme === "always",
        split: json.split ?? true,
      });
  }
}

const notWhiteSpace = /[^\p{White_Space}]+/gu;

/**
 * SentencePiece's words: each blank is a visible character, which begins the word after it; the first word has one, too.
 *
 * @param mark what a blank becomes, usually "▁"
 */
function createMetaspace(mark: string, { prepends, split }: { prepends: boolean; split: boolean }): PreTokenizer {
  return (text) => {
    let marked = text.replaceAll(" ", mark);
    if (prepends && !marked.startsWith(mark)) marked = mark + marked;
    if (!split) return [marked];
    const words: string[] = [];
    for (let start = 0; start < marked.length;) {
      const next = marked.indexOf(mark, start + 1);
      const end = next < 0 ? marked.length : next;
      words.push(marked.slice(start, end));
      start = end;
    }
    return words;
  };
}
