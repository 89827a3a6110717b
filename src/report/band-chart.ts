import { mean } from "../stats/summary.js";
import {
  axis,
  cellColor,
  chartTitle,
  drawSvg,
  ink,
  tickRange,
  tickStep,
  type ChartOption,
  type Figure,
  type FigureLabel,
} from "./chart.js";
import { count, metricName, upperFirst } from "./format.js";
import type { Point, ReportCell, ReportRun } from "./report-data.js";

const width = 1000;
const height = 460;

/** Training loss by step: mean over the runs and their range (paper, Figures 3, 6 and 11). */
export function lossCurves({ name, place }: FigureLabel, cells: readonly ReportCell[]): Figure | null {
  const bands = cells.map((cell) => ({ name: cell.recipe, points: bandOf(cell.runs, ({ curves }) => curves.loss) }));
  return bandChart(name, {
    title: `Training loss on ${place}`,
    yName: "Training loss",
    xAxis: stepAxis(bands),
    bands,
    caption: (banded) => [runsOf(cells), rangeCaption(banded), "Each point is the mean loss of a window of steps."],
    cut: 2 * Math.max(...bands.map(({ points }) => points[0]?.mean ?? 0)),
  });
}

/** Validation score by step. */
export function scoreCurves({ name, place }: FigureLabel, cells: readonly ReportCell[]): Figure | null {
  const bands = cells.map((cell) => ({
    name: cell.recipe,
    points: bandOf(cell.runs, ({ curves }) => curves.validation).map((point) => scaled(point, 100)),
  }));
  const metric = metricName(cells[0]?.runs[0]?.result.selectedBy ?? "");
  return bandChart(name, {
    title: `Validation ${metric.replace(/ \(.*/, "")} on ${place} while training`,
    yName: `Validation ${metric}`,
    xAxis: stepAxis(bands),
    bands,
    caption: (banded) => [runsOf(cells), rangeCaption(banded), "Each point is an evaluation on the validation rows."],
  });
}

export function rangeCaption(banded: boolean): string {
  return `Lines are means over runs${banded ? ", bands reach from the lowest to the highest run" : ""}.`;
}

/** More bands than these hide each other. */
export const mostBands = 7;

export interface BandPoint {
  /** Place on the x axis. */
  step: number;
  mean: number;
  low: number;
  high: number;
}

export interface Band {
  name: string;
  points: readonly BandPoint[];
}

/** Mean and range at every step that runs have a finite value for. */
export function bandOf(runs: readonly ReportRun[], curve: (run: ReportRun) => readonly Point[]): BandPoint[] {
  const bySteps = new Map<number, number[]>();
  for (const run of runs) {
    for (const [step, value] of curve(run)) {
      if (!Number.isFinite(value)) continue;
      const values = bySteps.get(step);
      if (values) values.push(value);
      else bySteps.set(step, [value]);
    }
  }
  return [...bySteps]
    .sort(([a], [b]) => a - b)
    .map(([step, values]) => ({ step, mean: mean(values), low: Math.min(...values), high: Math.max(...values) }));
}

export function scaled({ step, mean: middle, low, high }: BandPoint, factor: number): BandPoint {
  return { step, mean: factor * middle, low: factor * low, high: factor * high };
}

/** "20 runs each." */
export function runsOf(cells: readonly ReportCell[]): string {
  const sizes = [...new Set(cells.map(({ runs }) => runs.length))].sort((a, b) => a - b);
  const n = sizes.length === 1 ? `${count(sizes[0] ?? 0, "run")} each` : `${sizes[0]} to ${sizes.at(-1)} runs each`;
  return `${upperFirst(n)}.`;
}

/** From tick to tick; where all values are equal, give or take their rounding, with room around them. */
function valueRange(lowest: number, highest: number): { min: number; max: number; interval: number } {
  const flat = highest - lowest < 1e-6;
  const room = flat ? Math.min(1, 0.1 * Math.abs(highest)) || 1 : 0;
  return tickRange(lowest - room, highest + room, 6);
}

/** Lines with bands around them, one for each recipe; null where there is no point to draw. */
export function bandChart(
  name: string,
  {
    title,
    yName,
    xAxis,
    bands,
    caption,
    cut = Infinity,
  }: {
    title: string;
    yName: string;
    xAxis: object;
    bands: readonly Band[];
    /** Told whether bands are drawn, which many lines leave no room for. */
    caption: (banded: boolean) => readonly string[];
    /** Values above are cut off where there are any, and the caption says so. */
    cut?: number;
  },
): Figure | null {
  const banded = bands.length <= mostBands;
  const points = bands.flatMap((band) => band.points);
  if (points.length === 0) return null;
  const highest = Math.max(...points.map(({ high, mean: middle }) => (banded ? high : middle)));
  const lowest = Math.min(...points.map(({ low, mean: middle }) => (banded ? low : middle)));
  const { min, max, interval } = valueRange(lowest, Math.min(highest, cut));
  const legend = legendOf(
    bands.map((band) => band.name),
    { left: 84, right: 100, top: 44, width },
  );
  const few = bands.every((band) => band.points.length <= 20);
  const option: ChartOption = {
    title: chartTitle(title),
    legend: legend.option,
    grid: { left: 84, right: 36, top: 88 + legend.extra, bottom: 64 },
    xAxis,
    yAxis: {
      type: "value",
      ...axis(yName, 52),
      ...{ min, max, interval },
    },
    series: bands.flatMap((band, i) => bandSeries(band, { index: i, of: bands.length, dots: few, band: banded })),
  };
  const cutOff = `Values above ${Number(max.toPrecision(3))} are cut off; the highest is ${Number(highest.toPrecision(3))}.`;
  return {
    name,
    title,
    caption: [...caption(banded), ...(highest > max ? [cutOff] : [])].join(" "),
    svg: drawSvg(option, { name, width, height: height + legend.extra }),
  };
}

/** A line in the color of the recipe with this index, dashed where colors come round again, and its band. */
export function bandSeries(
  { name, points }: Band,
  {
    index,
    of,
    panel = 0,
    dots = false,
    band = true,
  }: {
    index: number;
    of: number;
    panel?: number;
    /** Whether each point is marked. */
    dots?: boolean;
    band?: boolean;
  },
) {
  const color = cellColor(index);
  const place = { xAxisIndex: panel, yAxisIndex: panel };
  const hidden = { type: "line", silent: true, symbol: "none", lineStyle: { opacity: 0 }, ...place } as const;
  const stack = { stack: `band ${panel} ${index}`, stackStrategy: "all" } as const;
  const area = [
    { ...hidden, ...stack, data: points.map(({ step, low }) => [step, low]) },
    {
      ...hidden,
      ...stack,
      areaStyle: { color, opacity: of <= 4 ? 0.16 : 0.08 },
      data: points.map(({ step, low, high }) => [step, high - low]),
    },
  ];
  return [
    ...(band ? area : []),
    {
      type: "line",
      silent: true,
      name,
      ...place,
      symbol: dots ? "circle" : "none",
      symbolSize: 6,
      lineStyle: { color, width: 2.5, type: index < 7 ? "solid" : "dashed" },
      itemStyle: { color },
      data: points.map(({ step, mean: middle }) => [step, middle]),
      z: 4,
    } as const,
  ];
}

/** A legend, and the pixels that it takes beyond those of one row: nothing measures text here, so widths are those of an average letter. */
export function legendOf(
  names: readonly string[],
  { left, right, top, width }: { left: number; right: number; top: number; width: number },
) {
  const option = {
    data: [...names],
    ...{ top, left, right, itemGap: 28, itemHeight: 8, itemWidth: 34 },
    textStyle: { color: ink, fontSize: 15 },
  };
  let rows = 1;
  let used = 0;
  for (const name of names) {
    const own = 34 + 5 + 8.2 * name.length + 28;
    if (used > 0 && used + own > width - left - right) {
      rows += 1;
      used = 0;
    }
    used += own;
  }
  return { option, extra: 45 * (rows - 1) };
}

/** From 0 to the last step; a last step that is no tick gets no label, which would touch its neighbor's. */
export function stepAxis(bands: readonly Band[], ticks = 8) {
  const max = Math.max(1, ...bands.map(({ points }) => points.at(-1)?.step ?? 1));
  const interval = Math.max(1, tickStep(max, ticks));
  return {
    type: "value",
    ...axis("Optimizer step", 36),
    splitLine: { show: false },
    ...{ min: 0, max, interval },
    axisLabel: { color: ink, fontSize: 14, showMaxLabel: max % interval === 0 },
  } as const;
}
