import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { glueTasks, type GlueTask } from "#src/data/glue-tasks.js";

/** One made-up text per class, in words that the tiny BERT knows. */
const subjects = ["locked password code email", "broken box size exchange", "late parcel courier today"];

/**
 * A GLUE folder with made-up rows in the official formats, by default of MNLI (3 classes) and RTE and QNLI (2 classes).
 * Which class a row has can be told from its first text.
 */
export function glueFolder(
  folder: string,
  {
    rows = 90,
    heldOut = 24,
    tasks = ["MNLI", "RTE", "QNLI"],
  }: { rows?: number; heldOut?: number; tasks?: string[] } = {},
): string {
  const glue = join(folder, "glue");
  for (const name of tasks) {
    const task = glueTasks.find((candidate) => candidate.name === name)!;
    write(glue, task, task.trainFile, rows);
    write(glue, task, task.devFile, heldOut);
  }
  return glue;
}

function write(glue: string, task: GlueTask, file: string, rows: number): void {
  mkdirSync(join(glue, task.folder), { recursive: true });
  const lines = Array.from({ length: rows }, (_, i) => {
    const label = (i * 7 + (i >> 3)) % (task.labels.length || subjects.length);
    const text = `${subjects[label]} ${["please help", "i need it", "was it me"][i % 3]}`;
    return task.columns.map((column) => {
      if (column === task.textColumn) return text;
      if (column === task.pairColumn) return ["why ?", "it is still here", "not the address"][i % 3];
      return column === task.labelColumn ? (task.written[label] ?? `${label}.5`) : String(i);
    });
  });
  const all = task.header ? [task.columns, ...lines] : lines;
  writeFileSync(join(glue, task.folder, file), all.map((row) => `${row.join("\t")}\n`).join(""));
}
