import type { BadRows } from "./bad-rows.js";

/** A file as rows and named columns, before anybody says what the columns mean. */
export interface Table {
  path: string;
  columns: string[];
  rows: TableRow[];
  /** Collects rows that turn out to be unusable. */
  badRows: BadRows;
  notes: string[];
}

export interface TableRow {
  /** From 0, the header not counted, skipped rows counted. */
  row: number;
  /** Line of the file (or row of a Parquet file), from 1, for messages. */
  place: number;
  /** One value per column: text in CSV and TSV, any JSON value in JSONL, any Parquet value. */
  values: readonly unknown[];
}

export interface ReadOptions {
  /** Count and skip rows that cannot be used, in place of throwing on the first. */
  skipBadRows: boolean;
}
