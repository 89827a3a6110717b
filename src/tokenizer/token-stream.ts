import type { TextTokenizer } from "./pipeline.js";

/** Long enough that cutting costs nothing, short enough that a text of a megabyte is not read for 128 tokens. */
const pieceLength = 4096;

/**
 * The tokens of one text, made no further than asked for. A `divisible` text is cut before blanks that follow a visible
 * character, where no word and no rule of the clean-up reaches across, so that the tokens are those of the whole text.
 */
export class TokenStream {
  readonly #text: string;
  readonly #tokenize: TextTokenizer;
  readonly #tokenIds: number[] = [];
  readonly #divisible: boolean;
  #position = 0;

  constructor(text: string, tokenize: TextTokenizer, divisible: boolean) {
    this.#text = text;
    this.#tokenize = tokenize;
    this.#divisible = divisible;
  }

  /** Makes at least `count` tokens, or all there are; returns how many are made. */
  advance(count: number): number {
    while (this.#tokenIds.length < count && this.#position < this.#text.length) {
      const end = this.#pieceEnd();
      for (const tokenId of this.#tokenize(this.#text.slice(this.#position, end))) this.#tokenIds.push(tokenId);
      this.#position = end;
    }
    return this.#tokenIds.length;
  }

  #pieceEnd(): number {
    if (!this.#divisible) return this.#text.length;
    let blank = this.#text.indexOf(" ", this.#position + pieceLength);
    while (blank >= 0 && !/[!-~]/.test(this.#text[blank - 1]!)) blank = this.#text.indexOf(" ", blank + 1);
    return blank < 0 ? this.#text.length : blank;
  }

  take(count: number): number[] {
    this.advance(count);
    return this.#tokenIds.slice(0, count);
  }
}

/**
 * How many tokens each of two texts keeps when `room` tokens are there for both: all if they fit; else the longer one
 * is cut first, down to the shorter one's length, then both to half. Of an odd number the longer text gets one more,
 * the second when they are equally long. As `longest_first` in Hugging Face's `tokenizers`.
 */
export function longestFirst(a: TokenStream, b: TokenStream, room: number): [number, number] {
  let limit = room + 1;
  let lengths: [number, number] = [a.advance(limit), b.advance(limit)];
  // Where both exceed the room, which one is longer still decides about the odd token.
  while (room % 2 === 1 && lengths[0] >= limit && lengths[1] >= limit) {
    limit = Math.max(...lengths) + pieceLength;
    lengths = [a.advance(limit), b.advance(limit)];
  }
  const [lengthA, lengthB] = lengths;
  if (lengthA + lengthB <= room) return [lengthA, lengthB];
  const less = Math.min(lengthA, lengthB, Math.floor(room / 2));
  return lengthA > lengthB ? [room - less, less] : [less, room - less];
}
