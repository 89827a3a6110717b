import { configHash } from "../training/identity.js";
import { bandChart, bandOf, rangeCaption, runsOf, scaled } from "./band-chart.js";
import { axis, ink, type Figure, type FigureLabel } from "./chart.js";
import { cellConfig } from "./config-groups.js";
import { metricName, upperFirst } from "./format.js";
import { groupBy, scoreOn, type Half, type ReportCell } from "./report-data.js";

/**
 * Score by how many steps a run is given (paper, Figures 8 and 14): recipes that differ in nothing else make a line.
 * Null where no recipe is run for several lengths.
 */
export function lengthChart({ name, place }: FigureLabel, cells: readonly ReportCell[], half: Half): Figure | null {
  const known = cells.filter(({ runs, config }) => runs.length > 0 && config !== null);
  const families = groupBy(known, ({ config }) => configHash(cellConfig(config!, ["steps", "epochs"])));
  const lines = families.map((family) => ({
    family,
    name: family[0]!.family,
    points: bandOf(
      family.flatMap(({ runs }) => runs),
      (run) => [[run.result.steps, scoreOn(half, run) ?? NaN]],
    ).map((point) => scaled(point, 100)),
  }));
  const lengths = [...new Set(lines.flatMap(({ points }) => points.map(({ step }) => step)))].sort((a, b) => a - b);
  if (!lines.some(({ points }) => points.length > 1)) return null;
  const metric = metricName(known[0]?.runs[0]?.result.metric ?? "");
  const ticks = apart(lengths);
  return bandChart(name, {
    title: `${upperFirst(half)} ${metric.replace(/ \(.*/, "")} on ${place} by length of training`,
    yName: `${upperFirst(half)} ${metric}`,
    xAxis: {
      type: "log",
      ...axis("Optimizer steps of the whole run (logarithmic)", 36),
      ...{ min: lengths[0], max: lengths.at(-1) },
      splitLine: { show: false },
      axisLabel: { color: ink, fontSize: 14, customValues: ticks, formatter: String },
      axisTick: { customValues: ticks },
    },
    bands: lines,
    caption: (banded) => [
      runsOf(lines.flatMap(({ family }) => family)),
      rangeCaption(banded),
      `Each point is runs of one length, scored on the ${half} rows at their validation-best checkpoint.`,
    ],
  });
}

/** Of lengths that would share a place on the axis only the first. */
function apart(lengths: readonly number[]): number[] {
  const [first = 1, last = 1] = [lengths[0], lengths.at(-1)];
  const ticks: number[] = [];
  for (const length of lengths) {
    const before = ticks.at(-1);
    if (before === undefined || Math.log(length / before) > 0.06 * Math.log(last / first)) ticks.push(length);
  }
  return ticks;
}
