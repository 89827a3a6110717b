import { existsSync } from "node:fs";
import { readdir, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../errors.js";
import { asOutputError, makeFolder, writeFileAtomic } from "../files/atomic.js";
import { studyPaths } from "../study/folder.js";
import { checkReportFolder } from "../study/report-folder.js";
import { bestOfK } from "./best-of-k.js";
import type { Figure } from "./chart.js";
import { tableCsv, trialsCsv } from "./csv.js";
import { htmlPage } from "./html.js";
import { readRuns } from "./read-runs.js";
import { readStudy } from "./read-study.js";
import { testScore, type ReportData } from "./report-data.js";
import { summarize, type CellSummary } from "./summary.js";

export interface Report {
  /** The page. */
  path: string;
  summaries: CellSummary[];
}

/**
 * Reads a study, or folders of single runs, and writes `report.html`, `table.csv` (cells), `trials.csv` (runs),
 * `study.json` (both, the choices, and what failed or waits) and `figures/*.svg`.
 *
 * @param folders one study, or any number of folders of finished runs; one that is named several times counts once
 * @param output where the report goes
 * @throws ConfigError when a folder is neither, and where the report would replace a file that no report wrote;
 *   OutputError when the report cannot be written
 */
export async function writeReport(folders: readonly string[], output: string): Promise<Report> {
  await checkReportFolder(output);
  const data = await readFolders(folders);
  const summaries = summarize(data);
  // The charting library takes half a second to load, which callers who never report should not wait for.
  const { figuresOf, isFigureFile } = await import("./figures.js");
  const figures = figuresOf(data);
  await makeFolder(output);
  // First, since it is what tells that the other files are a report's.
  await writeFileAtomic(join(output, "study.json"), `${JSON.stringify(json(data, summaries), null, 2)}\n`);
  await writeFigures(figures, join(output, "figures"), isFigureFile);
  await writeFileAtomic(join(output, "table.csv"), tableCsv(summaries));
  await writeFileAtomic(join(output, "trials.csv"), trialsCsv(data));
  const path = join(output, "report.html");
  await writeFileAtomic(path, htmlPage(data, summaries, figures));
  return { path, summaries };
}

/** Takes out what an earlier report has left; files that no report wrote, such as figures in other formats, stay. */
async function writeFigures(
  figures: readonly Figure[],
  folder: string,
  isFigureFile: (name: string) => boolean,
): Promise<void> {
  await makeFolder(folder);
  const written = new Set(figures.map(({ name }) => `${name}.svg`));
  for (const { name, svg } of figures) await writeFileAtomic(join(folder, `${name}.svg`), `${svg}\n`);
  try {
    const old = (await readdir(folder)).filter((name) => isFigureFile(name) && !written.has(name));
    await Promise.all(old.map((name) => rm(join(folder, name), { force: true })));
  } catch (error) {
    throw asOutputError(error, folder);
  }
}

async function readFolders(named: readonly string[]): Promise<ReportData> {
  const folders = await different(named);
  const [first] = folders;
  if (first === undefined) throw new ConfigError("no folder is given to report on");
  const study = folders.find((folder) => existsSync(studyPaths(folder).manifest));
  if (study === undefined) return readRuns(folders);
  if (folders.length > 1) {
    throw new ConfigError(`${study} is a study, which is reported on alone`, {
      hint: "give one study, or single runs",
    });
  }
  return readStudy(study);
}

/** A folder that is named twice, also by another path, counts once. */
async function different(folders: readonly string[]): Promise<string[]> {
  const byPlace = new Map<string, string>();
  for (const folder of folders) {
    // One that is not there is complained about by name where it is read.
    const place = await realpath(folder).catch(() => folder);
    if (!byPlace.has(place)) byPlace.set(place, folder);
  }
  return [...byPlace.values()];
}

/** The report for programs. */
function json({ title, description, cells, failed, later }: ReportData, summaries: readonly CellSummary[]): object {
  return {
    title,
    description,
    cells: summaries.map((summary, i) => ({
      ...summary,
      choice: cells[i]!.choice,
      bestOfK: bestOfK(cells[i]!, "test"),
      bestOfKValidation: bestOfK(cells[i]!, "validation"),
      trials: cells[i]?.runs.map((run) => ({ id: run.id, seed: run.seed, test: testScore(run), result: run.result })),
    })),
    failed,
    later,
  };
}
