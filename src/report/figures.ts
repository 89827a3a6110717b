import { lossCurves, scoreCurves } from "./band-chart.js";
import { boxPlot } from "./box-plot.js";
import type { Figure } from "./chart.js";
import type { ReportCell, ReportData } from "./report-data.js";
import { scoresOf } from "./summary.js";

/** The figures of a report, task by task. Cells without a finished run are left out. */
export function figuresOf({ cells }: ReportData): Figure[] {
  const groups = groupByTask(cells);
  return groups.flatMap((group, i) => {
    const name = (kind: string): string => (groups.length === 1 ? kind : `${kind}-${i + 1}`);
    const figures: Figure[] = [];
    if (group.some((cell) => scoresOf(cell).length > 0)) figures.push(boxPlot(name("scores"), group));
    if (group.some(({ runs }) => runs.some(({ curves }) => curves.loss.length > 0))) {
      figures.push(lossCurves(name("loss"), group), scoreCurves(name("validation"), group));
    }
    return figures;
  });
}

function groupByTask(cells: readonly ReportCell[]): ReportCell[][] {
  const groups = new Map<string, ReportCell[]>();
  for (const cell of cells) {
    if (cell.runs.length === 0) continue;
    const key = JSON.stringify([cell.stage, cell.task]);
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  return [...groups.values()];
}
