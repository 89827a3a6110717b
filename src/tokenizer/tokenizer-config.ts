import { TokenizerError } from "../errors.js";
import type { AddedToken } from "./added-tokens.js";
import type { BertTextSettings } from "./bert-text.js";

/** A token by what it is written like; settings that a file leaves out are absent. */
export type NamedToken = { content: string } & Partial<Omit<AddedToken, "id" | "content">>;

const roles = ["unk", "cls", "sep", "pad", "mask", "bos", "eos"] as const;

/** What a special token is for. */
export type TokenRole = (typeof roles)[number];

/** What counts in a tokenizer_config.json; keys that are absent there are absent here. */
export interface TokenizerConfig {
  text: Partial<Pick<BertTextSettings, "lowercase" | "separateIdeographs" | "stripAccents">>;
  /** Byte-level vocabularies: the first word begins with a blank, too. null: not said. */
  addPrefixSpace: boolean | null;
  /** Without the "Fast" that files of older versions have; null: not said. */
  tokenizerClass: string | null;
  specialTokens: Partial<Record<TokenRole, NamedToken>>;
  /** Further special tokens. */
  others: NamedToken[];
  /** Tokens with their ids, as `added_tokens_decoder` has them. */
  addedTokens: (NamedToken & { id: number })[];
}

/** Classes that wrap a bare tokenizer.json take their settings from that file alone; all others rebuild them from here. */
const bareClasses = new Set(["PreTrainedTokenizer", "TokenizersBackend"]);

/**
 * @param raw the parsed tokenizer_config.json, with what special_tokens_map.json adds; {} where there is none
 * @param path named in errors
 */
export function parseTokenizerConfig(raw: Record<string, unknown>, path: string): TokenizerConfig {
  const flag = (key: string): boolean | null | undefined => {
    const value = raw[key];
    if (value === undefined || value === null || typeof value === "boolean") return value;
    throw new TokenizerError(`${path}: ${key} must be true, false or null, not ${JSON.stringify(value)}`);
  };
  const className = raw["tokenizer_class"];
  const tokenizerClass = typeof className === "string" ? className.replace(/Fast$/, "") : null;
  const isBare = tokenizerClass !== null && bareClasses.has(tokenizerClass);

  const text: TokenizerConfig["text"] = {};
  if (!isBare) {
    const lowercase = flag("do_lower_case");
    const separateIdeographs = flag("tokenize_chinese_chars");
    const stripAccents = flag("strip_accents");
    if (typeof lowercase === "boolean") text.lowercase = lowercase;
    if (typeof separateIdeographs === "boolean") text.separateIdeographs = separateIdeographs;
    if (stripAccents !== undefined) text.stripAccents = stripAccents;
  }

  const specialTokens: TokenizerConfig["specialTokens"] = {};
  for (const role of roles) {
    const value = raw[`${role}_token`] ?? null;
    if (value !== null) specialTokens[role] = parseToken(value, path, `${role}_token`);
  }
  const additional = raw["extra_special_tokens"] ?? raw["additional_special_tokens"] ?? [];
  const decoder = raw["added_tokens_decoder"];
  return {
    text,
    addPrefixSpace: isBare ? null : (flag("add_prefix_space") ?? null),
    tokenizerClass,
    specialTokens,
    others: (Array.isArray(additional) ? additional : []).map((value) =>
      parseToken(value, path, "additional_special_tokens"),
    ),
    addedTokens: Object.entries(isRecord(decoder) ? decoder : {}).map(([id, value]) => {
      if (!/^\d+$/.test(id)) throw new TokenizerError(`${path}: added_tokens_decoder has the id ${JSON.stringify(id)}`);
      return { id: Number(id), ...parseToken(value, path, `added_tokens_decoder.${id}`) };
    }),
  };
}

function parseToken(value: unknown, path: string, key: string): NamedToken {
  if (typeof value === "string") return { content: value };
  if (!isRecord(value) || typeof value["content"] !== "string") {
    throw new TokenizerError(`${path}: ${key} must be a token, not ${JSON.stringify(value)}`);
  }
  const { content, normalized, single_word: singleWord, lstrip: stripLeft, rstrip: stripRight } = value;
  return {
    content,
    ...(typeof normalized === "boolean" && { normalized }),
    ...(typeof singleWord === "boolean" && { singleWord }),
    ...(typeof stripLeft === "boolean" && { stripLeft }),
    ...(typeof stripRight === "boolean" && { stripRight }),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
