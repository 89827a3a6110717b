import { mean } from "../stats/summary.js";
import { axis, cellColor, chartTitle, drawSvg, ink, tickStep, type ChartOption, type Figure } from "./chart.js";
import { count, metricName, upperFirst } from "./format.js";
import type { Point, ReportCell, ReportRun } from "./report-data.js";

const width = 1000;
const height = 460;

/** Training loss by step: mean over the runs and their range (paper, Figures 3, 6 and 11). */
export function lossCurves(name: string, cells: readonly ReportCell[]): Figure {
  const bands = cells.map((cell) => bandOf(cell.runs, ({ curves }) => curves.loss));
  const title = `Training loss on ${cells[0]?.task ?? ""}`;
  return figure(name, title, cells, bands, {
    yName: "Training loss",
    point: "the mean loss of a window of steps",
    cut: 2 * Math.max(...bands.map((band) => band[0]?.mean ?? 0)),
  });
}

/** Validation score by step: mean over the runs and their range (paper, Figures 8 and 14). */
export function scoreCurves(name: string, cells: readonly ReportCell[]): Figure {
  const bands = cells.map((cell) =>
    bandOf(cell.runs, ({ curves }) => curves.validation).map((point) => scaled(point, 100)),
  );
  const metric = metricName(cells[0]?.runs[0]?.result.selectedBy ?? "");
  const title = `Validation ${metric.replace(/ \(.*/, "")} on ${cells[0]?.task ?? ""} while training`;
  return figure(name, title, cells, bands, {
    yName: `Validation ${metric}`,
    point: "an evaluation on the validation rows",
    cut: Infinity,
  });
}

interface BandPoint {
  step: number;
  mean: number;
  low: number;
  high: number;
}

/** Mean and range at every step that runs have a finite value for. */
export function bandOf(runs: readonly ReportRun[], curve: (run: ReportRun) => readonly Point[]): BandPoint[] {
  const bySteps = new Map<number, number[]>();
  for (const run of runs) {
    for (const [step, value] of curve(run)) {
      if (Number.isFinite(value)) bySteps.set(step, [...(bySteps.get(step) ?? []), value]);
    }
  }
  return [...bySteps]
    .sort(([a], [b]) => a - b)
    .map(([step, values]) => ({ step, mean: mean(values), low: Math.min(...values), high: Math.max(...values) }));
}

function scaled({ step, mean: middle, low, high }: BandPoint, factor: number): BandPoint {
  return { step, mean: factor * middle, low: factor * low, high: factor * high };
}

function figure(
  name: string,
  title: string,
  cells: readonly ReportCell[],
  bands: readonly BandPoint[][],
  { yName, point, cut }: { yName: string; point: string; cut: number },
): Figure {
  const highest = Math.max(...bands.flat().map(({ high }) => high));
  const lowest = Math.min(...bands.flat().map(({ low }) => low));
  const interval = tickStep(Math.min(highest, cut) - lowest, 6);
  const max = Math.ceil(Math.min(highest, cut) / interval) * interval;
  const isCut = highest > max;
  const legendRows = rowsOf(cells.map(({ recipe }) => recipe));
  const option: ChartOption = {
    title: chartTitle(title),
    legend: {
      data: cells.map(({ recipe }) => recipe),
      top: 44,
      left: 84,
      right: 36,
      itemGap: 28,
      icon: "roundRect",
      itemHeight: 5,
      itemWidth: 28,
      textStyle: { color: ink, fontSize: 15 },
    },
    grid: { left: 84, right: 36, top: 58 + 30 * legendRows, bottom: 64 },
    xAxis: { type: "value", ...axis("Optimizer step", 36), splitLine: { show: false }, ...stepsOf(bands) },
    yAxis: {
      type: "value",
      ...axis(yName, 52),
      ...{ min: Math.floor(lowest / interval) * interval, max, interval },
    },
    series: cells.flatMap(({ recipe }, i) => {
      const band = bands[i] ?? [];
      const color = cellColor(i);
      const hidden = { type: "line", silent: true, symbol: "none", lineStyle: { opacity: 0 } } as const;
      const stack = { stack: `band ${i}`, stackStrategy: "all" } as const;
      return [
        { ...hidden, ...stack, data: band.map(({ step, low }) => [step, low]) },
        {
          ...hidden,
          ...stack,
          areaStyle: { color, opacity: 0.16 },
          data: band.map(({ step, low, high }) => [step, high - low]),
        },
        {
          type: "line",
          silent: true,
          name: recipe,
          symbol: band.length <= 20 ? "circle" : "none",
          symbolSize: 6,
          lineStyle: { color, width: 2.5 },
          itemStyle: { color },
          data: band.map(({ step, mean: middle }) => [step, middle]),
          z: 4,
        },
      ];
    }),
  };
  const sizes = [...new Set(cells.map(({ runs }) => runs.length))];
  const n = sizes.length === 1 ? `${count(sizes[0] ?? 0, "run")} each` : `${sizes.join(", ")} runs`;
  const caption = [
    `${upperFirst(n)}. Lines are means over runs, bands reach from the lowest to the highest run; each point is ${point}.`,
    ...(isCut
      ? [`Values above ${Number(max.toPrecision(3))} are cut off; the highest is ${Number(highest.toPrecision(3))}.`]
      : []),
  ].join(" ");
  return { name, title, caption, svg: drawSvg(option, { name, width, height: height + 30 * (legendRows - 1) }) };
}

/** From 0 to the last step; a last step that is no tick gets no label, which would touch its neighbor's. */
function stepsOf(bands: readonly BandPoint[][]) {
  const max = Math.max(1, ...bands.map((band) => band.at(-1)?.step ?? 1));
  const interval = Math.max(1, tickStep(max, 8));
  return { min: 0, max, interval, axisLabel: { color: ink, fontSize: 14, showMaxLabel: max % interval === 0 } };
}

/** Rows that a legend of these names takes; nothing measures text here, so widths are those of an average letter. */
function rowsOf(names: readonly string[]): number {
  const room = width - 84 - 36;
  let rows = 1;
  let used = 0;
  for (const name of names) {
    const own = 28 + 5 + 8.2 * name.length + 28;
    if (used > 0 && used + own > room) {
      rows += 1;
      used = 0;
    }
    used += own;
  }
  return rows;
}
