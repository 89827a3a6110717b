import { CsvError, parse } from "csv-parse/sync";
import { DataError } from "../errors.js";
import { BadRows } from "./bad-rows.js";
import { readText } from "./read-file.js";
import type { ReadOptions, Table } from "./table.js";
import { plural } from "./plural.js";

interface CsvRecord {
  /** Line on which the record starts, from 1. */
  line: number;
  values: string[];
}

/**
 * Reads CSV with a header line and quoting as in RFC 4180; the separator is the one of comma, semicolon, tab and bar
 * that the header holds most often.
 */
export async function readCsv(path: string, options: ReadOptions): Promise<Table> {
  const text = await readText(path);
  return tableOf(path, parseRecords(path, text, guessSeparator(text), true), options, []);
}

/**
 * Reads tab-separated values with a header line. Both kinds are in use: with quoting as in CSV, and without any. The
 * second is taken when the first fails or joins lines although each line alone has as many fields as the header.
 */
export async function readTsv(path: string, options: ReadOptions): Promise<Table> {
  const text = await readText(path);
  const uniform = sameTabsOnEachLine(text);
  let quoted: CsvRecord[] | null = null;
  try {
    quoted = parseRecords(path, text, "\t", true);
  } catch (error) {
    if (!uniform) throw error;
  }
  if (quoted !== null && !(uniform && quoted.some(({ values }) => values.some((value) => value.includes("\n"))))) {
    return tableOf(path, quoted, options, []);
  }
  const note = `${path}: double quotes are read as plain characters, because they do not pair up within lines`;
  return tableOf(path, parseRecords(path, text, "\t", false), options, [note]);
}

function tableOf(path: string, records: CsvRecord[], options: ReadOptions, notes: string[]): Table {
  const [header, ...body] = records;
  if (header === undefined) throw new DataError(`${path} holds no header line`);
  const columns = header.values.map((name) => name.trim());
  const badRows = new BadRows(path, "line", options.skipBadRows);
  const rows: Table["rows"] = [];
  for (const [row, { line, values }] of body.entries()) {
    if (values.length === columns.length) rows.push({ row, place: line, values });
    else badRows.add(line, `${plural(values.length, "column")}, where the header has ${columns.length}`);
  }
  return { path, columns, rows, badRows, notes };
}

function parseRecords(path: string, text: string, separator: string, quoting: boolean): CsvRecord[] {
  const records: CsvRecord[] = [];
  let lastLine = 0;
  try {
    parse(text, {
      delimiter: separator,
      quote: quoting ? '"' : false,
      record_delimiter: ["\r\n", "\n"],
      relax_column_count: true,
      // A quote inside an unquoted field is a plain character, as every common program reads it.
      relax_quotes: true,
      skip_empty_lines: true,
      on_record: (values: string[], { lines }) => {
        records.push({ line: lines - newlinesIn(values), values });
        lastLine = lines;
        return null;
      },
    });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const problem = error.code === "CSV_QUOTE_NOT_CLOSED" ? "a double quote is opened and never closed" : error.message;
    throw new DataError(`${path}, from line ${lastLine + 1}: ${problem}`, {
      cause: error,
      hint: 'Write a double quote inside a quoted field as "".',
    });
  }
  return records;
}

function newlinesIn(values: string[]): number {
  let count = 0;
  for (const value of values) {
    for (let at = value.indexOf("\n"); at >= 0; at = value.indexOf("\n", at + 1)) count++;
  }
  return count;
}

function guessSeparator(text: string): string {
  const end = text.indexOf("\n");
  const header = (end < 0 ? text : text.slice(0, end)).replaceAll(/"[^"]*"/g, "");
  let best = ",";
  for (const candidate of [";", "\t", "|"]) {
    if (header.split(candidate).length > header.split(best).length) best = candidate;
  }
  return best;
}

function sameTabsOnEachLine(text: string): boolean {
  const lines = text.split("\n").filter((line) => line !== "" && line !== "\r");
  const fields = lines[0]?.split("\t").length;
  return lines.every((line) => line.split("\t").length === fields);
}
