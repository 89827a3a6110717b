import { lossCurves, scoreCurves } from "./band-chart.js";
import { biasChart } from "./bias-chart.js";
import { boxPlot } from "./box-plot.js";
import type { Figure } from "./chart.js";
import { distanceChart } from "./distance-chart.js";
import { expectedChart } from "./expected-chart.js";
import { lengthChart } from "./length-chart.js";
import { groupBy, scoresOf, type ReportCell, type ReportData } from "./report-data.js";
import { seedGrid } from "./seed-grid.js";

/** The figures of a report that there are data for, task by task. Cells without a finished run are left out. */
export function figuresOf({ cells }: ReportData): Figure[] {
  const groups = groupBy(
    cells.filter(({ runs }) => runs.length > 0),
    ({ stage, task }) => JSON.stringify([stage, task]),
  );
  const figures = groups.flatMap((group, i) => {
    const name = (kind: string): string => (groups.length === 1 ? kind : `${kind}-${i + 1}`);
    return figuresOfTask(group, name);
  });
  return [...figures, biasChart("bias-ratio", cells)].filter((figure) => figure !== null);
}

function figuresOfTask(cells: readonly ReportCell[], name: (kind: string) => string): (Figure | null)[] {
  const scored = cells.some((cell) => scoresOf(cell).length > 0);
  const logged = cells.some(({ runs }) => runs.some(({ curves }) => curves.loss.length > 0));
  const grids = cells.map((cell, i) => seedGrid(name(`seeds-${i + 1}`), cell, "test"));
  return [
    scored ? boxPlot(name("scores"), cells, "test") : null,
    scored ? boxPlot(name("validation-scores"), cells, "validation") : null,
    ...grids,
    lengthChart(name("length"), cells, "validation"),
    expectedChart(name("expected-test"), cells, "test"),
    expectedChart(name("expected-validation"), cells, "validation"),
    logged ? lossCurves(name("loss"), cells) : null,
    logged ? scoreCurves(name("validation"), cells) : null,
    distanceChart(name("distance"), cells, { every: false }),
    distanceChart(name("distance-all"), cells, { every: true }),
  ];
}
