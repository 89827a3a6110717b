import { extname } from "node:path";
import { DataError } from "../errors.js";
import { readCsv, readTsv } from "./csv.js";
import { readJsonl } from "./jsonl.js";
import { readParquet } from "./parquet.js";
import type { ReadOptions, Table } from "./table.js";

const readers: Record<string, (path: string, options: ReadOptions) => Promise<Table>> = {
  ".csv": readCsv,
  ".tsv": readTsv,
  ".jsonl": readJsonl,
  ".ndjson": readJsonl,
  ".parquet": readParquet,
};

/** File name endings that `readTable` knows. */
export const tableExtensions: readonly string[] = Object.keys(readers);

/** Reads a CSV, TSV, JSONL or Parquet file, by the ending of its name. Throws DataError that names file and line. */
export async function readTable(path: string, options: ReadOptions): Promise<Table> {
  const extension = extname(path).toLowerCase();
  const reader = readers[extension];
  if (reader === undefined) {
    throw new DataError(`${path}: files ending in ${extension === "" ? "nothing" : extension} are not supported`, {
      hint: `Give a file that ends in ${tableExtensions.join(", ")}.`,
    });
  }
  const table = await reader(path, options);
  const repeated = table.columns.find((name, index) => table.columns.indexOf(name) !== index);
  if (repeated !== undefined) throw new DataError(`${path}: two columns are named '${repeated}'`);
  if (table.rows.length === 0 && table.badRows.count === 0) throw new DataError(`${path} holds no rows`);
  return table;
}
