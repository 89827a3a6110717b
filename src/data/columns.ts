import { nearest } from "../config/suggest.js";
import { ConfigError } from "../errors.js";
import type { Table } from "./table.js";

/** Columns as the user names them; those left out are guessed. */
export interface ColumnNames {
  text?: string | undefined;
  pair?: string | undefined;
  label?: string | undefined;
}

/** Columns by index, and what was guessed. */
export interface ChosenColumns {
  text: number;
  pair: number | null;
  label: number | null;
  notes: string[];
}

const pairNames = [
  ["sentence1", "sentence2"],
  ["premise", "hypothesis"],
  ["question1", "question2"],
  ["question", "sentence"],
  ["text1", "text2"],
  ["text_a", "text_b"],
  ["query", "passage"],
] as const;

const textNames = ["text", "sentence", "body", "content", "review", "message", "comment", "description", "question"];

const labelNames = [
  "label",
  "labels",
  "class",
  "category",
  "target",
  "score",
  "rating",
  "stars",
  "intent",
  "sentiment",
  "gold_label",
  "similarity",
];

/**
 * Finds the columns of text, second text and label. A name that is given must exist. One that is not is guessed: by
 * usual names; then the longest texts are the text, and a single column that is left over is the label. A second text
 * is only guessed together with the first, by the usual pairs of names.
 *
 * Throws ConfigError when a named column is missing, or when a label is needed and nothing tells which column it is.
 */
export function chooseColumns(table: Table, names: ColumnNames, labelNeeded: boolean): ChosenColumns {
  let text = findNamed(table, names.text, "text");
  let pair = findNamed(table, names.pair, "pair");
  let label = findNamed(table, names.label, "label");
  const unused = () => table.columns.map((_, index) => index).filter((index) => ![text, pair, label].includes(index));
  const guessText = text === null;
  const guessLabel = label === null && labelNeeded;

  if (guessText && names.pair === undefined) [text, pair] = usualPair(table, unused()) ?? [null, null];
  if (text === null) text = firstNamed(table, textNames, unused());
  if (guessLabel) label = firstNamed(table, labelNames, unused());
  if (text === null) text = longestText(table, unused());
  if (text === null) {
    throw new ConfigError(`${table.path} has no column of text (columns: ${table.columns.join(", ")})`, {
      hint: "Name it by --text.",
    });
  }
  if (guessLabel && label === null) {
    const rest = unused();
    if (rest.length !== 1) {
      throw new ConfigError(
        `cannot tell which column of ${table.path} holds the label (columns: ${table.columns.join(", ")})`,
        { hint: "Name it by --label." },
      );
    }
    label = rest[0] as number;
  }
  checkDifferent(table, [text, pair, label]);

  const guessed: string[] = [];
  const quoted = (index: number) => `'${table.columns[index]}'`;
  if (guessText && pair !== null && names.pair === undefined)
    guessed.push(`${quoted(text)} and ${quoted(pair)} as the texts`);
  else if (guessText) guessed.push(`${quoted(text)} as the text`);
  if (guessLabel && label !== null) guessed.push(`${quoted(label)} as the label`);
  const notes = guessed.length === 0 ? [] : [`${table.path}: taking column ${guessed.join(", ")}`];
  return { text, pair, label, notes };
}

function findNamed(table: Table, name: string | undefined, key: string): number | null {
  if (name === undefined) return null;
  const index = table.columns.indexOf(name);
  if (index >= 0) return index;
  const near = nearest(name, table.columns);
  throw new ConfigError(`${table.path} has no column '${name}' for ${key} (columns: ${table.columns.join(", ")})`, {
    hint: near === undefined ? `Name one of them by --${key}.` : `Did you mean --${key} ${near}?`,
  });
}

function usualPair(table: Table, candidates: number[]): [number, number] | null {
  for (const [first, second] of pairNames) {
    const text = firstNamed(table, [first], candidates);
    const pair = firstNamed(table, [second], candidates);
    if (text !== null && pair !== null) return [text, pair];
  }
  return null;
}

function firstNamed(table: Table, names: readonly string[], candidates: number[]): number | null {
  for (const name of names) {
    const found = candidates.find((index) => table.columns[index]?.toLowerCase() === name);
    if (found !== undefined) return found;
  }
  return null;
}

/** The column with the most characters in the first 100 rows, or null where no candidate holds text. */
function longestText(table: Table, candidates: number[]): number | null {
  let best: number | null = null;
  let bestLength = 0;
  for (const index of candidates) {
    let length = 0;
    for (const { values } of table.rows.slice(0, 100)) {
      const value = values[index];
      if (typeof value === "string") length += value.length;
    }
    if (length > bestLength) [best, bestLength] = [index, length];
  }
  return best;
}

function checkDifferent(table: Table, chosen: (number | null)[]): void {
  const used = chosen.filter((index) => index !== null);
  const twice = used.find((index, at) => used.indexOf(index) !== at);
  if (twice === undefined) return;
  throw new ConfigError(
    `column '${table.columns[twice]}' of ${table.path} cannot serve as two of text, pair and label`,
  );
}
