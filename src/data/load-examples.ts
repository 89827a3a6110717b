import { DataError } from "../errors.js";
import { chooseColumns } from "./columns.js";
import { toExamples } from "./examples.js";
import type { LabelScheme } from "./labels.js";
import { knownScheme, labelText } from "./labels.js";
import { readTable } from "./read-table.js";
import type { Table } from "./table.js";
import type { Example, Problem } from "./task.js";

export interface LoadExamplesOptions {
  /** A CSV, TSV, JSONL or Parquet file. */
  data: string;
  /** Column names; text and label are guessed when left out. */
  text?: string | undefined;
  pair?: string | undefined;
  label?: string | undefined;
  /** What the model tells apart: its class names in index order, or regression. */
  problem: Problem;
  labels: readonly string[];
  /** True: every row needs a label that the model knows. False: labels are read only from a column named by `label`. */
  labelsNeeded: boolean;
  skipBadRows?: boolean | undefined;
}

/**
 * Reads rows for a model that is already trained: to be scored, or to be predicted.
 *
 * Class numbers in the file stand for the model's classes in index order when the model's own names are words.
 * Throws ConfigError for an unknown column and DataError for anything that the file lacks.
 */
export async function loadExamples(options: LoadExamplesOptions): Promise<{ examples: Example[]; notes: string[] }> {
  const table = await readTable(options.data, { skipBadRows: options.skipBadRows ?? false });
  const columns = chooseColumns(table, options, options.labelsNeeded);
  let scheme: LabelScheme | null = null;
  if (columns.label !== null) {
    scheme = knownScheme(options.problem, options.labels);
    if (numbersForWords(table, columns.label, options.labels)) {
      scheme = { ...scheme, read: (text) => Number(text) };
      const classes = options.labels.map((label, index) => `${index} ${label}`).join(", ");
      table.notes.push(`${table.path}: labels are class numbers of the model (${classes})`);
    }
  }
  const examples = toExamples(table, columns, scheme);
  if (examples.length === 0) throw new DataError(`${table.path} holds no usable row`);
  return { examples, notes: [...columns.notes, ...table.notes, ...table.badRows.notes()] };
}

function numbersForWords(table: Table, column: number, labels: readonly string[]): boolean {
  if (labels.length === 0 || labels.some((label) => Number.isFinite(Number(label)))) return false;
  return table.rows.every(({ values }) => {
    const text = labelText(values[column]);
    return text !== null && /^\d+$/.test(text) && Number(text) < labels.length;
  });
}
