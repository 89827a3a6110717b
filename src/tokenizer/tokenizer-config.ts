import { TokenizerError } from "../errors.js";
import type { BertTextSettings } from "./bert-text.js";

/** What counts in a tokenizer_config.json; keys that are absent there are absent here. */
export interface TokenizerConfig {
  text: Partial<Pick<BertTextSettings, "lowercase" | "separateIdeographs" | "stripAccents">>;
  specialTokens: { unk: string; cls: string; sep: string; others: string[] };
}

/**
 * @param raw the parsed tokenizer_config.json, {} where there is none
 * @param path named in errors
 */
export function parseTokenizerConfig(raw: Record<string, unknown>, path: string): TokenizerConfig {
  const flag = (key: string): boolean | null | undefined => {
    const value = raw[key];
    if (value === undefined || value === null || typeof value === "boolean") return value;
    throw new TokenizerError(`${path}: ${key} must be true, false or null, not ${JSON.stringify(value)}`);
  };
  const token = (value: unknown, key: string): string => {
    const content = typeof value === "object" && value !== null && "content" in value ? value.content : value;
    if (typeof content === "string") return content;
    throw new TokenizerError(`${path}: ${key} must be a token, not ${JSON.stringify(value)}`);
  };
  const special = (key: string, usual: string): string => token(raw[key] ?? usual, key);
  const additional = raw["extra_special_tokens"] ?? raw["additional_special_tokens"] ?? [];

  const text: TokenizerConfig["text"] = {};
  // Wrappers of a bare tokenizer.json take their settings from that file alone; the BERT classes rebuild them from here.
  if (raw["tokenizer_class"] !== "PreTrainedTokenizerFast" && raw["tokenizer_class"] !== "TokenizersBackend") {
    const lowercase = flag("do_lower_case");
    const separateIdeographs = flag("tokenize_chinese_chars");
    const stripAccents = flag("strip_accents");
    if (typeof lowercase === "boolean") text.lowercase = lowercase;
    if (typeof separateIdeographs === "boolean") text.separateIdeographs = separateIdeographs;
    if (stripAccents !== undefined) text.stripAccents = stripAccents;
  }
  return {
    text,
    specialTokens: {
      unk: special("unk_token", "[UNK]"),
      cls: special("cls_token", "[CLS]"),
      sep: special("sep_token", "[SEP]"),
      others: [
        special("pad_token", "[PAD]"),
        special("mask_token", "[MASK]"),
        ...(Array.isArray(additional) ? additional.map((value) => token(value, "additional_special_tokens")) : []),
      ],
    },
  };
}
