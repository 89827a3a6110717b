import { createTokenSplitter, type AddedToken } from "./added-tokens.js";
import type { Normalizer } from "./normalizer.js";
import type { PreTokenizer } from "./pre-tokenizer.js";
import type { Template } from "./template.js";

/** The ids of one word, cut into the pieces of a vocabulary. */
export type WordModel = (word: string) => readonly number[];

/** Everything that decides the ids of a text, whichever files it was read from. */
export interface Pipeline {
  normalize: Normalizer;
  splitWords: PreTokenizer;
  model: WordModel;
  addedTokens: AddedToken[];
  template: Template;
  /** One more than the highest id. */
  vocabularySize: number;
  /** What stands before a blank never changes what is made of the rest, added tokens aside. */
  wordsAreApart: boolean;
}

/** The ids of a text, without the special tokens of the template and without truncation. */
export type TextTokenizer = (text: string) => number[];

/** Texts repeat their words: a word that was cut once is not cut again. */
const cachedWords = 100_000;
const longestCached = 32;

export function createTextTokenizer({ normalize, splitWords, model, addedTokens }: Pipeline): TextTokenizer {
  const splitVerbatim = createTokenSplitter(addedTokens.filter(({ normalized }) => !normalized));
  const splitNormalized = createTokenSplitter(
    addedTokens.filter(({ normalized }) => normalized),
    ({ content }) => normalize(content),
  );
  const wordIds = cached(model);
  return (text) => {
    const ids: number[] = [];
    for (const part of splitVerbatim(text)) {
      if (typeof part === "number") {
        ids.push(part);
        continue;
      }
      for (const section of splitNormalized(normalize(part))) {
        if (typeof section === "number") ids.push(section);
        else for (const word of splitWords(section)) for (const id of wordIds(word)) ids.push(id);
      }
    }
    return ids;
  };
}

function cached(model: WordModel): WordModel {
  const known = new Map<string, readonly number[]>();
  return (word) => {
    if (word.length > longestCached) return model(word);
    let ids = known.get(word);
    if (ids === undefined) {
      if (known.size >= cachedWords) known.clear();
      known.set(word, (ids = model(word)));
    }
    return ids;
  };
}
