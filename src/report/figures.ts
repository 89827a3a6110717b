import { lossCurves, scoreCurves } from "./band-chart.js";
import { biasChart } from "./bias-chart.js";
import { boxPlot } from "./box-plot.js";
import type { Figure, FigureLabel } from "./chart.js";
import { distanceChart } from "./distance-chart.js";
import { expectedChart } from "./expected-chart.js";
import { lengthChart } from "./length-chart.js";
import { groupBy, placeNames, scoresOf, type ReportCell, type ReportData } from "./report-data.js";
import { seedGrid } from "./seed-grid.js";

/** What figures are called; those of `seeds` and `validation-seeds` are counted. */
const kinds = [
  ...["scores", "validation-scores", "validation-seeds", "seeds", "length", "expected-test", "expected-validation"],
  ...["loss", "validation", "distance", "distance-all", "bias-ratio"],
] as const;

type Kind = (typeof kinds)[number];

const fileName = new RegExp(`^(${kinds.join("|")})(-\\d+)*\\.svg$`);

/** Whether a report writes, or an earlier one wrote, files of this name into `figures/`. */
export function isFigureFile(name: string): boolean {
  return fileName.test(name);
}

/** The figures of a report that there are data for, task by task. Cells without a finished run are left out. */
export function figuresOf({ cells }: ReportData): Figure[] {
  const groups = groupBy(
    cells.filter(({ runs }) => runs.length > 0),
    ({ stage, task }) => JSON.stringify([stage, task]),
  );
  const placeName = placeNames(cells);
  const figures = groups.flatMap((group, i) => {
    const place = placeName(group[0]!);
    return figuresOfTask(group, (kind) => ({ name: groups.length === 1 ? kind : `${kind}-${i + 1}`, place }));
  });
  return [...figures, biasChart("bias-ratio", cells)].filter((figure) => figure !== null);
}

function figuresOfTask(
  cells: readonly ReportCell[],
  label: (kind: Kind | `${"validation-" | ""}seeds-${number}`) => FigureLabel,
): (Figure | null)[] {
  const scored = cells.some((cell) => scoresOf(cell).length > 0);
  const logged = cells.some(({ runs }) => runs.some(({ curves }) => curves.loss.length > 0));
  // The paper's grids are of validation scores.
  const grids = cells.flatMap((cell, i) => [
    seedGrid(label(`validation-seeds-${i + 1}`), cell, "validation"),
    seedGrid(label(`seeds-${i + 1}`), cell, "test"),
  ]);
  return [
    scored ? boxPlot(label("scores"), cells, "test") : null,
    scored ? boxPlot(label("validation-scores"), cells, "validation") : null,
    ...grids,
    lengthChart(label("length"), cells, "validation"),
    expectedChart(label("expected-test"), cells, "test"),
    expectedChart(label("expected-validation"), cells, "validation"),
    logged ? lossCurves(label("loss"), cells) : null,
    logged ? scoreCurves(label("validation"), cells) : null,
    distanceChart(label("distance"), cells, { every: false }),
    distanceChart(label("distance-all"), cells, { every: true }),
  ];
}
