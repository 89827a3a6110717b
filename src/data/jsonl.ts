import { BadRows } from "./bad-rows.js";
import { readText } from "./read-file.js";
import type { ReadOptions, Table } from "./table.js";

/** Reads JSON Lines: one object per line; blank lines are no rows. The columns are all keys, in order of appearance. */
export async function readJsonl(path: string, options: ReadOptions): Promise<Table> {
  const badRows = new BadRows(path, "line", options.skipBadRows);
  const columns = new Map<string, number>();
  const records: { row: number; place: number; record: object }[] = [];
  let row = 0;
  for (const [index, line] of (await readText(path)).split("\n").entries()) {
    if (line.trim() === "") continue;
    const place = index + 1;
    const record = parseObject(line);
    if (typeof record === "string") {
      badRows.add(place, record);
    } else {
      for (const key of Object.keys(record)) if (!columns.has(key)) columns.set(key, columns.size);
      records.push({ row, place, record });
    }
    row++;
  }
  const rows = records.map(({ row, place, record }) => {
    const values = new Array<unknown>(columns.size).fill(undefined);
    for (const [key, value] of Object.entries(record)) values[columns.get(key) as number] = value;
    return { row, place, values };
  });
  return { path, columns: [...columns.keys()], rows, badRows, notes: [] };
}

/** The object on that line, or what is wrong with it. */
function parseObject(line: string): object | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return `not JSON (${error instanceof Error ? error.message : String(error)})`;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "not a JSON object";
  return value;
}
