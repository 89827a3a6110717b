import { mean, quantile } from "../stats/summary.js";
import { axis, cellColor, chartTitle, drawSvg, ink, tickStep, type Figure } from "./chart.js";
import { count, metricName, points, upperFirst } from "./format.js";
import { testScore, type ReportCell } from "./report-data.js";
import { scoresOf } from "./summary.js";

const height = 520;
const margins = { left: 84, right: 150, top: 84 };
/** Nothing measures text here: the width of an average letter of a label. */
const letter = 8.2;
/** As many boxes fit on a figure of the usual width; with more it grows. */
const usualWidth = 1000;
const fitting = 7;

/** Test scores of all recipes on one task: a box for each, and every run as a dot (paper, Figures 2, 5 and 13). */
export function boxPlot(name: string, cells: readonly ReportCell[]): Figure {
  const shown = cells.filter((cell) => scoresOf(cell).length > 0);
  const { metric = "", majority } = shown[0]?.runs[0]?.result ?? {};
  const task = shown[0]?.task ?? "";
  const baseline = majority?.test ?? null;
  const title = `Test ${metricName(metric).replace(/ \(.*/, "")} on ${task}`;
  const labels = shown.map(({ recipe }) => recipe);
  const width = Math.max(usualWidth, (usualWidth * shown.length) / fitting);
  const slot = (width - margins.left - margins.right) / shown.length;
  const lines = Math.max(1, ...labels.map((label) => Math.ceil((letter * label.length) / (slot - 10))));
  const boxWidth = Math.min(90, 0.5 * slot);
  const svg = drawSvg(
    {
      title: chartTitle(title, "every dot is one run; the runs of a recipe differ only in their seed"),
      grid: { ...margins, bottom: 30 + 17 * lines },
      xAxis: {
        type: "category",
        data: labels,
        ...axis("", 0),
        axisTick: { show: false },
        axisLabel: { color: ink, fontSize: 15, interval: 0, width: slot - 10, overflow: "break" },
      },
      yAxis: { type: "value", scale: true, ...axis(`Test ${metricName(metric)}`, 52), ...rangeOf(shown, baseline) },
      series: [
        {
          type: "boxplot",
          silent: true,
          boxWidth: [boxWidth, boxWidth],
          data: shown.map((cell, i) => ({
            value: [0, 0.25, 0.5, 0.75, 1].map((q) => 100 * quantile(scoresOf(cell), q)),
            itemStyle: { color: `${cellColor(i)}22`, borderColor: cellColor(i), borderWidth: 2 },
          })),
          ...(baseline !== null && {
            markLine: {
              silent: true,
              symbol: "none",
              data: [{ yAxis: 100 * baseline }],
              lineStyle: { color: "#595959", type: "dashed", width: 1.5 },
              label: { formatter: `majority class\n${points(baseline)}`, color: "#404040", fontSize: 14 },
            },
          }),
        },
        {
          type: "scatter",
          silent: true,
          symbolSize: 11,
          data: shown.flatMap((cell, i) => dots(cell, i, 0.6 * boxWidth)),
          z: 5,
        },
        {
          type: "scatter",
          silent: true,
          symbol: "diamond",
          symbolSize: 15,
          symbolOffset: [boxWidth / 2 + 14, 0],
          itemStyle: { color: ink },
          label: {
            show: true,
            position: "right",
            color: ink,
            fontSize: 15,
            formatter: ({ value }) => mark(value, slot),
          },
          data: shown.map((cell, i) => [i, 100 * mean(scoresOf(cell))]),
          z: 6,
        },
      ],
    },
    { name, width, height: height + 17 * (lines - 1) },
  );
  return { name, title, caption: captionOf(shown, baseline), svg };
}

/**
 * Spread over `spread` pixels so that equal scores do not hide each other, by golden-ratio steps: evenly, whatever
 * their number, and the same each time.
 */
function dots(cell: ReportCell, column: number, spread: number): object[] {
  return cell.runs.flatMap((run, i) => {
    const score = testScore(run);
    if (score === null) return [];
    const offset = cell.runs.length === 1 ? 0 : (((i + 0.5) * 0.618034) % 1) - 0.5;
    const color = cellColor(column);
    const fill = run.result.degenerate ? "#ffffff" : color;
    return [
      {
        value: [column, 100 * score],
        symbolOffset: [spread * offset, 0],
        itemStyle: { color: fill, borderColor: color, borderWidth: 2, opacity: 0.9 },
      },
    ];
  });
}

function mark(value: unknown, slot: number): string {
  const mean = Number((value as number[])[1]).toFixed(1);
  return slot < 190 ? mean : `mean ${mean}`;
}

/** Room above the best and below the worst run or the baseline, from tick to tick. */
function rangeOf(
  cells: readonly ReportCell[],
  baseline: number | null,
): { min: number; max: number; interval: number } {
  const values = [...cells.flatMap(scoresOf), ...(baseline === null ? [] : [baseline])].map((score) => 100 * score);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(0.5, 0.04 * (high - low));
  const interval = tickStep(high - low + 2 * room, 6);
  const min = Math.floor((low - room) / interval) * interval;
  return { min, max: Math.min(100, Math.ceil((high + room) / interval) * interval), interval };
}

function captionOf(cells: readonly ReportCell[], baseline: number | null): string {
  const sizes = [...new Set(cells.map((cell) => scoresOf(cell).length))];
  const rows = cells[0]?.runs[0]?.result.rows;
  const n = sizes.length === 1 ? `${count(sizes[0] ?? 0, "run")} each` : `${sizes.join(", ")} runs`;
  const degenerate = cells.flatMap(({ runs }) => runs).filter(({ result }) => result.degenerate).length;
  return [
    `${upperFirst(n)}. A dot is the score of one run's validation-best checkpoint on ${count(rows?.test ?? 0, "test row")}.`,
    "Boxes span the quartiles with the median inside, whiskers reach to the worst and the best run, diamonds are means.",
    ...(baseline === null ? [] : ["The dashed line is what always predicting the majority class scores."]),
    ...(degenerate === 0 ? [] : ["Hollow dots are degenerate runs: no better than that."]),
  ].join(" ");
}
