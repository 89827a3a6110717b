import type { ChosenColumns } from "./columns.js";
import type { LabelScheme } from "./labels.js";
import { labelText } from "./labels.js";
import type { Table, TableRow } from "./table.js";
import type { Example } from "./task.js";
import { plural } from "./plural.js";

/**
 * Turns rows into examples; rows without a usable text or label go to `table.badRows`.
 *
 * @param scheme how labels are read; null leaves them out
 */
export function toExamples(table: Table, columns: ChosenColumns, scheme: LabelScheme | null): Example[] {
  const examples: Example[] = [];
  let empty = 0;
  let firstEmpty = 0;
  for (const row of table.rows) {
    const text = readText(table, row, columns.text);
    const pair = columns.pair === null ? null : readText(table, row, columns.pair);
    const label = scheme === null || columns.label === null ? null : readLabel(table, row, columns.label, scheme);
    if (text === undefined || pair === undefined || label === undefined) continue;
    if (text.trim() === "" || pair?.trim() === "") {
      if (empty === 0) firstEmpty = row.place;
      empty++;
    }
    examples.push({ row: row.row, text, pair, label });
  }
  if (empty > 0) {
    const first = `${table.badRows.unit} ${firstEmpty}`;
    table.notes.push(`${table.path}: an empty text in ${plural(empty, "row")}, kept as it is (first: ${first})`);
  }
  return examples;
}

/** The text of a cell, or undefined when the row was bad (and said so). */
function readText(table: Table, { place, values }: TableRow, column: number): string | undefined {
  const value = values[column];
  const name = `column '${table.columns[column]}'`;
  const problem = (what: string) => {
    table.badRows.add(place, what);
    return undefined;
  };
  if (value === undefined || value === null) return problem(`no text in ${name}`);
  if (value instanceof Uint8Array) return problem(`${name} is not valid UTF-8`);
  if (typeof value === "object") return problem(`${name} does not hold text`);
  const text = String(value);
  if (text.includes("\0")) return problem(`${name} holds a NUL character`);
  if (/\p{Surrogate}/u.test(text)) return problem(`${name} holds half a surrogate pair`);
  return text;
}

/** The class index or score of a row, or undefined when the row was bad (and said so). */
function readLabel(table: Table, { place, values }: TableRow, column: number, scheme: LabelScheme): number | undefined {
  const text = labelText(values[column]);
  const name = `column '${table.columns[column]}'`;
  if (text === null) {
    table.badRows.add(place, `no label in ${name}`);
    return undefined;
  }
  const label = scheme.read(text);
  if (label === undefined) table.badRows.add(place, unknownLabel(text, scheme));
  return label;
}

function unknownLabel(text: string, scheme: LabelScheme): string {
  if (scheme.problem === "regression") return `label '${text}' is not a number`;
  const some = scheme.labels.slice(0, 10).join(", ");
  const rest = scheme.labels.length > 10 ? `, and ${scheme.labels.length - 10} more` : "";
  return `unknown label '${text}' (known: ${some}${rest})`;
}

/** Class indices or scores of examples that all have one. */
export function labelsOf(examples: readonly Example[]): number[] {
  return examples.map(({ label }) => label as number);
}

/** Examples per class, in index order. */
export function countClasses(examples: readonly Example[], classes: number): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (const label of labelsOf(examples)) counts[label] = (counts[label] as number) + 1;
  return counts;
}

/** Examples of one split, and the file of which they are the whole or a part. */
export interface Part {
  examples: Example[];
  path: string;
  /** Usable rows in the file. */
  fileRows: number;
}

export function wholeOf(path: string, examples: Example[]): Part {
  return { examples, path, fileRows: examples.length };
}

/** The examples at some positions of a part. */
export function partOf({ examples, ...file }: Part, positions: readonly number[]): Part {
  return { ...file, examples: positions.map((position) => examples[position] as Example) };
}

/** Where the examples came from, for people. */
export function sourceOf({ examples, path, fileRows }: Part): string {
  return examples.length === fileRows ? path : `${path} (${examples.length} of ${fileRows} rows)`;
}
