import { DataError } from "../errors.js";
import { BadRows } from "./bad-rows.js";
import { readBytes } from "./read-file.js";
import type { ReadOptions, Table } from "./table.js";

/**
 * Reads a Parquet file with any of the common compressions. Text that is not valid UTF-8 stays as bytes, so that the
 * row which needs it can be named.
 */
export async function readParquet(path: string, options: ReadOptions): Promise<Table> {
  const file = new Uint8Array(await readBytes(path)).buffer;
  try {
    // Loaded when a Parquet file is read: most runs read none, and the two take ten megabytes.
    const { parquetMetadataAsync, parquetReadObjects, parquetSchema } = await import("hyparquet");
    const { compressors } = await import("hyparquet-compressors");
    const metadata = await parquetMetadataAsync(file);
    const columns = parquetSchema(metadata).children.map(({ element }) => element.name);
    const records = await parquetReadObjects({ file, metadata, compressors, parsers: { stringFromBytes } });
    const rows = records.map((record, row) => ({ row, place: row + 1, values: columns.map((name) => record[name]) }));
    return { path, columns, rows, badRows: new BadRows(path, "row", options.skipBadRows), notes: [] };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DataError(`${path} is not a Parquet file that can be read: ${reason}`, { cause });
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true });

function stringFromBytes(bytes: Uint8Array | undefined): string | Uint8Array | undefined {
  try {
    return bytes && decoder.decode(bytes);
  } catch {
    return bytes;
  }
}
