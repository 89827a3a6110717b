import { leastCorrelation } from "../metrics/baseline.js";
import { mean, quantile } from "../stats/summary.js";
import { axis, cellColor, chartTitle, drawSvg, ink, tickRange, type Figure, type FigureLabel } from "./chart.js";
import { count, metricName, points, upperFirst } from "./format.js";
import { scoreOn, scoresOf, type Half, type ReportCell } from "./report-data.js";

const height = 520;
const margins = { left: 84, right: 150, top: 84 };
/** Nothing measures text here: the width of an average letter of a label. */
const letter = 8.2;
/** As many boxes fit on a figure of the usual width; with more it grows. */
const usualWidth = 1000;
const fitting = 14;
/** Pixels per box below which labels stand at a slant, and means above their boxes. */
const narrow = 105;
const slant = 30;

/**
 * Scores of all recipes on one task: a box for each, and every run as a dot (paper, Figure 2 of test scores, Figures 5
 * and 13 of validation scores).
 */
export function boxPlot({ name, place }: FigureLabel, cells: readonly ReportCell[], half: Half): Figure {
  const shown = cells.filter((cell) => scoresOf(cell, half).length > 0);
  const { metric = "", majority } = shown[0]?.runs[0]?.result ?? {};
  const baseline = majority?.[half] ?? null;
  const title = `${upperFirst(half)} ${metricName(metric).replace(/ \(.*/, "")} on ${place}`;
  const labels = shown.map(({ recipe }) => recipe);
  const width = Math.max(usualWidth, (usualWidth * shown.length) / fitting);
  const longest = Math.max(0, ...labels.map((label) => letter * label.length));
  const across = longest * Math.cos((Math.PI * slant) / 180);
  // The first of the slanted labels reaches out to the left.
  const roomy = (width - margins.left - margins.right) / shown.length;
  const left = roomy < narrow ? Math.max(margins.left, across - roomy / 3) : margins.left;
  const slot = (width - left - margins.right) / shown.length;
  const crowded = slot < narrow;
  const broken = labels.map((label) => brokenLabel(label, slot - 10));
  const below = crowded
    ? 30 + longest * Math.sin((Math.PI * slant) / 180)
    : 30 + 17 * Math.max(1, ...broken.map((label) => label.split("\n").length));
  const boxWidth = Math.min(90, 0.5 * slot);
  const means = shown.map((cell, i) => [i, 100 * mean(scoresOf(cell, half))]);
  const text = { color: ink, fontSize: 15 };
  // Where all runs are at the baseline its line goes through the label.
  const halo = { textBorderColor: "#ffffff", textBorderWidth: 4 };
  const svg = drawSvg(
    {
      title: chartTitle(title, "every dot is one run; the runs of a recipe differ only in their seed"),
      grid: { ...margins, left, bottom: below },
      xAxis: {
        type: "category",
        data: crowded ? labels : broken,
        ...axis("", 0),
        axisTick: { show: false },
        axisLabel: {
          ...{ color: ink, fontSize: 15, interval: 0 },
          ...(crowded && { rotate: slant }),
        },
      },
      yAxis: {
        type: "value",
        scale: true,
        ...axis(`${upperFirst(half)} ${metricName(metric)}`, 52),
        ...rangeOf(shown, half, { baseline, headroom: crowded }),
      },
      series: [
        {
          type: "boxplot",
          silent: true,
          boxWidth: [boxWidth, boxWidth],
          data: shown.map((cell, i) => ({
            value: [0, 0.25, 0.5, 0.75, 1].map((q) => 100 * quantile(scoresOf(cell, half), q)),
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
          data: shown.flatMap((cell, i) => dots(cell, half, { column: i, spread: 0.6 * boxWidth })),
          z: 5,
        },
        {
          type: "scatter",
          silent: true,
          symbol: "diamond",
          symbolSize: 15,
          symbolOffset: [crowded ? 0 : boxWidth / 2 + 14, 0],
          itemStyle: { color: ink, borderColor: "#ffffff", borderWidth: crowded ? 1.5 : 0 },
          label: { show: !crowded, position: "right", ...text, ...halo, formatter: ({ value }) => mark(value, slot) },
          data: means,
          z: 6,
        },
        {
          type: "scatter",
          silent: true,
          symbolSize: 0.01,
          label: { show: crowded, position: "top", distance: 10, ...text },
          data: means.map(([i = 0, middle = 0], cell) => ({
            value: [i, 100 * Math.max(...scoresOf(shown[cell]!, half))],
            label: { formatter: middle.toFixed(1) },
          })),
        },
      ],
    },
    { name, width, height: height - 47 + below },
  );
  return { name, title, caption: captionOf(shown, half, baseline), svg };
}

/**
 * Spread over `spread` pixels so that equal scores do not hide each other, by golden-ratio steps: evenly, whatever
 * their number, and the same each time.
 */
function dots(cell: ReportCell, half: Half, { column, spread }: { column: number; spread: number }): object[] {
  return cell.runs.flatMap((run, i) => {
    const score = scoreOn(half, run);
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

/** Broken between words into lines of `width` pixels, or of one word. */
function brokenLabel(label: string, width: number): string {
  const lines: string[] = [];
  for (const word of label.split(" ")) {
    const longer = [lines.at(-1), word].join(" ");
    if (lines.length > 0 && letter * longer.length <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.join("\n");
}

function mark(value: unknown, slot: number): string {
  const mean = Number((value as number[])[1]).toFixed(1);
  return slot < 200 ? mean : `mean ${mean}`;
}

/** From tick to tick, with room above the best run, for a number where `headroom` is set, and below the worst. */
function rangeOf(
  cells: readonly ReportCell[],
  half: Half,
  { baseline, headroom }: { baseline: number | null; headroom: boolean },
): { min: number; max: number; interval: number } {
  const values = [...cells.flatMap((cell) => scoresOf(cell, half)), ...(baseline === null ? [] : [baseline])].map(
    (score) => 100 * score,
  );
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(0.5, 0.04 * (high - low));
  const above = headroom ? 0.1 * (high - low) : room;
  const { min, max, interval } = tickRange(low - room, high + above, 6);
  return { min, max: Math.min(100, max), interval };
}

function captionOf(cells: readonly ReportCell[], half: Half, baseline: number | null): string {
  const sizes = [...new Set(cells.map((cell) => scoresOf(cell, half).length))].sort((a, b) => a - b);
  const { rows, metric } = cells[0]?.runs[0]?.result ?? {};
  const n = sizes.length === 1 ? `${count(sizes[0] ?? 0, "run")} each` : `${sizes[0]} to ${sizes.at(-1)} runs each`;
  const drawn = cells.flatMap(({ runs }) => runs).filter((run) => scoreOn(half, run) !== null);
  const degenerate = drawn.some(({ result }) => result.degenerate);
  // Judged there on either figure, so that a run is hollow on both or on none.
  const judged = `on the ${rows?.test === 0 ? "validation" : "test"} rows`;
  const regression = metric === "spearman" || metric === "pearson";
  return [
    `${upperFirst(n)}. A dot is the score of one run's validation-best checkpoint on ${count(rows?.[half] ?? 0, `${half} row`)}.`,
    "Boxes span the quartiles with the median inside, whiskers reach to the worst and the best run; diamonds and numbers are means.",
    ...(baseline === null ? [] : ["The dashed line is what always predicting the majority class scores."]),
    ...(degenerate
      ? [
          regression
            ? `Hollow dots are degenerate runs: below ${points(leastCorrelation)} ${judged}.`
            : `Hollow dots are degenerate runs: no better ${judged} than always predicting the majority class.`,
        ]
      : []),
  ].join(" ");
}
