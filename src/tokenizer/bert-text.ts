import { ideographs, marks, punctuation, removed } from "./bert-characters.js";
import { characterClass } from "./character-class.js";

/** What happens to a text before it is cut into words; the fields of `BertNormalizer` in a tokenizer.json. */
export interface BertTextSettings {
  /** Drop control characters and turn every kind of white space into a blank. */
  cleanText: boolean;
  /** Put blanks around ideographs. */
  separateIdeographs: boolean;
  /** Drop accents; null: when `lowercase` is true, as the original BERT does. */
  stripAccents: boolean | null;
  lowercase: boolean;
}

const removedCharacters = new RegExp(`[${characterClass(removed)}]`, "gu");
const whiteSpace = /[\t\n\r\p{White_Space}]/gu;
const ideograph = new RegExp(`[${characterClass(ideographs)}]`, "gu");
const mark = new RegExp(`[${characterClass(marks)}]`, "gu");
const word = new RegExp(`[${characterClass(punctuation)}]|[^\\p{White_Space}${characterClass(punctuation)}]+`, "gu");

/** BERT's clean-up of a text, in the order of the reference: clean, separate ideographs, strip accents, lower-case. */
export function normalizeBertText(text: string, settings: BertTextSettings): string {
  let result = text;
  if (settings.cleanText) result = result.replace(removedCharacters, "").replace(whiteSpace, " ");
  if (settings.separateIdeographs) result = result.replace(ideograph, " $& ");
  if (settings.stripAccents ?? settings.lowercase) result = result.normalize("NFD").replace(mark, "");
  return settings.lowercase ? lowercase(result) : result;
}

/** The reference lower-cases each character alone; toLowerCase() knows one rule that looks around, the final sigma. */
export function lowercase(text: string): string {
  return text.replaceAll("Σ", "σ").toLowerCase();
}

/** Words: runs without white space or punctuation, and every punctuation character by itself. */
export function splitBertWords(text: string): string[] {
  return text.match(word) ?? [];
}
