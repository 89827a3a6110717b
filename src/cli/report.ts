import type { Command } from "commander";
import { meanStd, metricName, points, pValue } from "../report/format.js";
import { groupBy, placeNames } from "../report/report-data.js";
import type { CellSummary } from "../report/summary.js";
import { table } from "./table.js";
import { openTerminal } from "./terminal.js";
import { addExamples, print, printJson, type CommonOptions } from "./verb.js";

export function define(command: Command): void {
  command
    .description(
      "Writes report.html, table.csv, trials.csv, study.json and figures/*.svg from a study or from folders of finished " +
        "runs. Runs that differ only in their seeds are taken together.",
    )
    .argument("<folders...>", "the folder of one study, or those of runs")
    .option("--output <path>", "where the report goes (default: into the study's folder, or runs/report)")
    .action(report);
  addExamples(command, [
    ["A study, also one that is still running", "steadytune report runs/quickstart"],
    ["Single runs", "steadytune report runs/rte-seed0 runs/rte-seed1 runs/rte-seed2 --output runs/rte-report"],
  ]);
}

async function report(folders: string[], options: CommonOptions & { output?: string }): Promise<void> {
  const [{ writeReport }, { studyPaths }, { existsSync }] = await Promise.all([
    import("../report/write-report.js"),
    import("../study/folder.js"),
    import("node:fs"),
  ]);
  const [first = ""] = folders;
  const isStudy = existsSync(studyPaths(first).manifest);
  const written = await writeReport(folders, options.output ?? (isStudy ? first : "runs/report"));
  if (options.json) {
    printJson(written);
    return;
  }
  printReport(written.summaries);
  const terminal = await openTerminal(options);
  terminal.line();
  terminal.line(`the report with figures: ${written.path}`);
}

/** A table for each task of each stage. */
export function printReport(summaries: readonly CellSummary[]): void {
  const placeName = placeNames(summaries);
  for (const rows of groupBy(summaries, ({ stage, task }) => JSON.stringify([stage, task]))) {
    const first = rows[0]!;
    print(
      table(
        [
          `${placeName(first)}: test ${metricName(first.metric)}`,
          "runs",
          "mean ± std",
          "best",
          "degenerate",
          "diverged",
          "p",
        ],
        rows.map((row) => [
          row.recipe,
          row.runs === row.planned ? String(row.runs) : `${row.runs} of ${row.planned}`,
          meanStd(row),
          points(row.best),
          String(row.degenerate),
          String(row.diverged),
          pValue(row.pHigher),
        ]),
      ),
    );
    if (rows.some(({ pHigher }) => pHigher !== null)) {
      print(`p: one-tailed t-test that the mean is higher than that of "${first.recipe}"`);
    }
  }
}
