import { mean, std } from "../stats/summary.js";
import { chartTitle, drawSvg, ink, type Figure, type FigureLabel } from "./chart.js";
import { count, metricName, points } from "./format.js";
import { scoreOn, scoresOf, type Half, type ReportCell } from "./report-data.js";

const size = { cellWidth: 66, cellHeight: 34, left: 120, top: 92, right: 110, bottom: 92 };

/** From low to high in lightness as well as in hue, for any color vision (Cividis, Nuñez et al. 2018). */
const cividis = ["#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838"];

/**
 * Scores by init seed and order seed, with the deviation along each row and column beside it (paper, App. B); null for a
 * cell whose runs are no grid, or have no scores.
 */
export function seedGrid({ name, place }: FigureLabel, cell: ReportCell, half: Half): Figure | null {
  const seeds = (key: "initSeed" | "orderSeed"): number[] =>
    [...new Set(cell.runs.map(({ result }) => result.seeds[key]))].sort((a, b) => a - b);
  const [inits, orders] = [seeds("initSeed"), seeds("orderSeed")];
  // Runs of one seed for everything lie on the diagonal, which is no grid.
  if (inits.length < 2 || orders.length < 2 || cell.runs.length <= Math.max(inits.length, orders.length)) return null;
  const at = (init: number, order: number): number | null => {
    const run = cell.runs.find(({ result: { seeds } }) => seeds.initSeed === init && seeds.orderSeed === order);
    return run === undefined ? null : scoreOn(half, run);
  };
  const known = (values: (number | null)[]): number[] => values.filter((value) => value !== null);
  const alongOrders = inits.map((init) => std(known(orders.map((order) => at(init, order)))));
  const alongInits = orders.map((order) => std(known(inits.map((init) => at(init, order)))));
  const scores = scoresOf(cell, half);
  if (scores.length === 0) return null;
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const margin = (value: number) => (Number.isNaN(value) ? "–" : (100 * value).toFixed(2));
  const width = size.left + size.cellWidth * (orders.length + 1) + size.right;
  const height = size.top + size.cellHeight * (inits.length + 1) + size.bottom;
  const metric = metricName(cell.runs[0]?.result.metric ?? "");
  const title = `${half === "test" ? "Test" : "Validation"} ${metric} by seeds: ${cell.recipe}, ${place}`;
  const labels = { color: ink, fontSize: 14 };
  const names = { nameLocation: "middle", nameTextStyle: { color: ink, fontSize: 15 } } as const;
  const plain = { type: "category", axisTick: { show: false }, axisLine: { show: false } } as const;
  const svg = drawSvg(
    {
      title: chartTitle(title),
      grid: { left: size.left, right: size.right, top: size.top, bottom: size.bottom },
      xAxis: {
        ...plain,
        ...names,
        data: [...orders.map(String), "std"],
        name: "Seed of data order and dropout",
        nameGap: 34,
        axisLabel: { ...labels, interval: 0 },
      },
      yAxis: {
        ...plain,
        ...names,
        data: [...inits.map(String), "std"],
        inverse: true,
        name: "Seed of new weights",
        nameGap: 60,
        axisLabel: { ...labels, interval: 0 },
      },
      visualMap: {
        ...{ type: "continuous", min: 100 * low, max: high > low ? 100 * high : 100 * low + 1, dimension: 2 },
        ...{ seriesIndex: 0, show: true, right: 16, top: size.top, itemHeight: 140, itemWidth: 16 },
        ...{ text: [points(high), points(low)], textStyle: labels, inRange: { color: cividis } },
      },
      series: [
        {
          type: "heatmap",
          silent: true,
          itemStyle: { borderColor: "#ffffff", borderWidth: 1 },
          data: inits.flatMap((init, y) =>
            orders.flatMap((order, x) => {
              const score = at(init, order);
              if (score === null) return [];
              const dark = high > low && (score - low) / (high - low) < 0.5;
              const label = { show: true, formatter: points(score), color: dark ? "#ffffff" : ink, fontSize: 14 };
              return [{ value: [x, y, 100 * score], label }];
            }),
          ),
        },
        {
          type: "scatter",
          silent: true,
          symbolSize: 0.01,
          data: [
            ...alongOrders.map((value, y) => marginOf(orders.length, y, margin(value))),
            ...alongInits.map((value, x) => marginOf(x, inits.length, margin(value))),
            marginOf(orders.length, inits.length, margin(std(scores))),
          ],
        },
      ],
    },
    { name, width: Math.max(width, 560), height },
  );
  const [fixedInit, fixedOrder] = [alongOrders, alongInits].map((all) => margin(mean(all.filter((one) => one >= 0))));
  const rows = cell.runs[0]?.result.rows[half] ?? 0;
  const caption = [
    `${cell.runs.length} runs; a field is the score of one run's validation-best checkpoint on ${count(rows, `${half} row`)}; none where it has no score.`,
    "The margins are sample standard deviations along a row or a column, in the corner that of all runs.",
    `On average the deviation is ${fixedInit} where the seed of the new weights is held fixed, and ${fixedOrder} where`,
    "that of order and dropout is.",
  ].join(" ");
  return { name, title, caption, svg };
}

function marginOf(x: number, y: number, text: string) {
  const label = { show: true, formatter: text, color: ink, fontSize: 14, position: "inside" as const };
  return { value: [x, y], label };
}
