import { bandChart, runsOf, scaled } from "./band-chart.js";
import { expectedCurve } from "./best-of-k.js";
import { axis, ink, tickStep, type Figure, type FigureLabel } from "./chart.js";
import { metricName, upperFirst } from "./format.js";
import type { Half, ReportCell } from "./report-data.js";

/** The score to expect of the validation-best of k runs, by k (paper, Figures 4 and 12); null with too few runs. */
export function expectedChart({ name, place }: FigureLabel, cells: readonly ReportCell[], half: Half): Figure | null {
  const bands = cells.flatMap((cell) => {
    const points = expectedCurve(cell, half).map(({ k, score: { mean, std } }) =>
      scaled({ step: k, mean, low: mean - std, high: mean + std }, 100),
    );
    return points.length === 0 ? [] : [{ cell, name: cell.recipe, points }];
  });
  if (bands.length === 0) return null;
  const metric = metricName(cells[0]?.runs[0]?.result.metric ?? "");
  const most = Math.max(...bands.map(({ points }) => points.length));
  const interval = Math.max(1, tickStep(most, 10));
  return bandChart(name, {
    title: `Expected ${half} ${metric.replace(/ \(.*/, "")} of the best of k runs on ${place}`,
    yName: `${upperFirst(half)} ${metric}`,
    xAxis: {
      type: "value",
      ...axis("Runs made (k)", 36),
      splitLine: { show: false },
      ...{ min: 0, max: most, interval },
      axisLabel: { color: ink, fontSize: 14, showMaxLabel: most % interval === 0 },
    },
    bands,
    caption: (banded) => [
      runsOf(bands.map(({ cell }) => cell)),
      "k of them are drawn with replacement and the one that is best on validation is taken: lines are its expected",
      `${half} score${banded ? ", bands one standard deviation on either side" : ""} (the limit of the paper's bootstrap).`,
      "Runs without a score are left out.",
    ],
  });
}
