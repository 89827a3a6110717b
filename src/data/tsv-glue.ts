import { BadRows } from "./bad-rows.js";
import type { GlueTask } from "./glue-tasks.js";
import { readText } from "./read-file.js";
import type { ReadOptions, Table, TableRow } from "./table.js";
import { plural } from "./plural.js";

/**
 * Reads a file of the official GLUE archive: lines end at LF, fields at TAB, and quotes mean nothing (RTE, MRPC,
 * STS-B and QNLI hold fields that open a quote and never close it, which a CSV reader would take for one long field).
 *
 * A first line that does not name the task's columns is data, as it always is in CoLA: then columns count by position.
 */
export async function readGlueTsv(path: string, task: GlueTask, options: ReadOptions): Promise<Table> {
  const lines = (await readText(path)).split("\n");
  if (lines.at(-1) === "") lines.pop();
  if (lines[0]?.endsWith("\r")) {
    for (const [index, line] of lines.entries()) lines[index] = line.endsWith("\r") ? line.slice(0, -1) : line;
  }

  const first = (lines[0] ?? "").split("\t");
  const notes: string[] = [];
  const named = first.includes(task.labelColumn) && first.includes(task.textColumn);
  const columns = named ? first : task.columns;
  if (!named && task.header) notes.push(`${path} has no header: its columns are taken in the official order`);

  const badRows = new BadRows(path, "line", options.skipBadRows);
  const rows: TableRow[] = [];
  const header = named ? 1 : 0;
  for (let line = header; line < lines.length; line++) {
    const values = (lines[line] as string).split("\t");
    if (values.length === columns.length) {
      rows.push({ row: line - header, place: line + 1, values });
    } else {
      badRows.add(
        line + 1,
        `${plural(values.length, "tab-separated column")}, expected ${columns.length} (${columns.join(", ")})`,
      );
    }
  }
  return { path, columns, rows, badRows, notes };
}
