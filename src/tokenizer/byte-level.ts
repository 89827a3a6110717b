import { letters, numbers } from "./byte-level-characters.js";
import { characterClass } from "./character-class.js";

const space = "\\p{White_Space}";
const letter = characterClass(letters);
const number = characterClass(numbers);

/**
 * GPT-2's rule for cutting a text into words, each with the blank before it: English contractions, runs of letters, of
 * numbers and of other signs, and white space, of which the last blank is left to the word that follows.
 */
const word = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?[${letter}]+| ?[${number}]+| ?[^${space}${letter}${number}]+` +
    `|${space}+(?![^${space}])|${space}+`,
  "gu",
);

export function splitByteLevelWords(text: string): string[] {
  return text.match(word) ?? [];
}

/**
 * The letter that stands for each byte in a byte-level vocabulary: the visible ones of Latin-1 for themselves, those
 * that are left, in order, for the characters from U+0100 on.
 */
const byteLetters: readonly string[] = (() => {
  const visible = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let others = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(visible(byte) ? byte : 0x100 + others++));
})();

const encoder = new TextEncoder();
const plain = /^[!-~]*$/;

/** The text's UTF-8 bytes, one letter for each. */
export function toByteLetters(text: string): string {
  if (plain.test(text)) return text;
  let result = "";
  for (const byte of encoder.encode(text)) result += byteLetters[byte];
  return result;
}
