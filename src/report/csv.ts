import type { ReportData } from "./report-data.js";
import { scoreOn } from "./report-data.js";
import type { CellSummary } from "./summary.js";

type Field = string | number | boolean | null;

/** RFC 4180, with a header; empty where there is no value. */
function csv(header: readonly string[], rows: readonly (readonly Field[])[]): string {
  return [header, ...rows].map((row) => `${row.map(quoted).join(",")}\r\n`).join("");
}

function quoted(field: Field): string {
  const text = field === null ? "" : String(field);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A line per cell; column names are those of `CellSummary`. */
export function tableCsv(summaries: readonly CellSummary[]): string {
  const columns = Object.keys(summaries[0] ?? {}) as (keyof CellSummary)[];
  return csv(
    columns,
    summaries.map((summary) => columns.map((column) => summary[column])),
  );
}

/** A line per run. */
export function trialsCsv({ cells }: ReportData): string {
  const header =
    "stage,task,recipe,id,seed,init_seed,order_seed,metric,test,validation,best_step,last_test,steps,degenerate,diverged,seconds,tokens,peak_memory_bytes";
  const rows = cells.flatMap(({ stage, task, recipe, runs }) =>
    runs.map((run): Field[] => {
      const { metric, best, last, steps, degenerate, diverged, seconds, seeds, tokens, peakMemoryBytes } = run.result;
      return [
        ...[stage, task, recipe, run.id, seeds.seed, seeds.initSeed, seeds.orderSeed, metric],
        ...[scoreOn("test", run), scoreOn("validation", run), best?.step ?? null, last?.test[metric] ?? null],
        ...[steps, degenerate, diverged, seconds.total, tokens, peakMemoryBytes],
      ];
    }),
  );
  return csv(header.split(","), rows);
}
