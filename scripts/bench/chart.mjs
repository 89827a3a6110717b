import { BarChart, CustomChart } from "echarts/charts";
import { use } from "echarts/core";

import { axis, cellColor, chartTitle, drawSvg, ink } from "../../dist/report/chart.js";

use([BarChart, CustomChart]);

const width = 1000;
const barHeight = 26;
const groupHeight = 2 * barHeight + 26;
const margins = { top: 126, bottom: 64, left: 250, right: 60 };
const gap = 40;

/**
 * How many times as fast as the Trainer steadytune is, in training and in evaluation, beside what the machine's floor
 * would allow: a bar each, with the spread over the rounds.
 *
 * @param {object[]} results of compare.mjs, with a Trainer
 * @param {{ name: string }} device
 * @returns {string} SVG
 */
export function speedChart(results, device) {
  const height = margins.top + results.length * groupHeight + margins.bottom;
  const panel = (width - margins.left - margins.right - gap) / 2;
  const lefts = [margins.left, margins.left + panel + gap];
  const labels = results.map(({ model, task, dtype }) => `${model.replace(/ \(.*/, "")}\n${task}, ${dtype}`);
  const kinds = ["training", "evaluation"];
  const longest = Math.max(...kinds.flatMap((kind) => results.map((result) => attainable(result[kind]))));
  const end = Math.ceil(longest + 0.8);

  return drawSvg(
    {
      title: [
        chartTitle("Times as fast as transformers' Trainer", `${device.name}; same rows, dtype and threads, by turns`),
        ...kinds.map((kind, i) => ({
          text: kind === "training" ? "training step" : "evaluation batch",
          left: lefts[i],
          top: margins.top - 34,
          textStyle: { color: ink, fontSize: 16, fontWeight: 600 },
        })),
      ],
      legend: { top: 10, right: 24, orient: "vertical", textStyle: { color: ink, fontSize: 14 }, data: [ours, floor] },
      grid: kinds.map((_, i) => ({ left: lefts[i], top: margins.top, width: panel, bottom: margins.bottom })),
      xAxis: kinds.map((_, i) => ({
        type: "value",
        gridIndex: i,
        min: 0,
        max: end,
        interval: end > 8 ? 2 : 1,
        ...axis("", 0),
      })),
      yAxis: kinds.map((_, i) => ({
        type: "category",
        gridIndex: i,
        inverse: true,
        data: labels,
        axisTick: { show: false },
        axisLine: { lineStyle: { color: ink } },
        axisLabel: { show: i === 0, color: ink, fontSize: 14, lineHeight: 18 },
      })),
      series: kinds.flatMap((kind, i) => [
        bars(
          ours,
          i,
          cellColor(1),
          results.map((result) => result[kind].timesAsFast.median),
        ),
        bars(
          floor,
          i,
          "#c9c9c9",
          results.map((result) => attainable(result[kind])),
        ),
        whiskers(
          i,
          results.map((result) => result[kind].timesAsFast),
        ),
      ]),
    },
    { name: "bench", width, height },
  );
}

const ours = "steadytune";
const floor = "what the machine's floor allows";

function attainable({ timesAsFast, shareOfFloor }) {
  return timesAsFast.median / shareOfFloor.median;
}

function bars(name, panel, color, values) {
  return {
    name,
    type: "bar",
    xAxisIndex: panel,
    yAxisIndex: panel,
    silent: true,
    barWidth: barHeight,
    barGap: "0%",
    itemStyle: { color },
    label: {
      show: true,
      position: "right",
      distance: name === ours ? 12 : 6,
      color: ink,
      fontSize: 14,
      formatter: ({ value }) => `${value.toFixed(1)}x`,
    },
    data: values,
    ...(name === ours && {
      markLine: {
        silent: true,
        symbol: "none",
        data: [{ xAxis: 1 }],
        lineStyle: { color: "#595959", type: "dashed", width: 1.5 },
        label: { formatter: "Trainer", position: "end", color: "#404040", fontSize: 13 },
      },
    }),
  };
}

/** From the slowest round's ratio to the fastest one's, over steadytune's bar. */
function whiskers(panel, spreads) {
  return {
    type: "custom",
    xAxisIndex: panel,
    yAxisIndex: panel,
    silent: true,
    z: 5,
    data: spreads.map(({ min, max }, i) => [i, min, max]),
    renderItem: (_, api) => {
      const [low, y] = api.coord([api.value(1), api.value(0)]);
      const [high] = api.coord([api.value(2), api.value(0)]);
      const middle = y - barHeight / 2;
      const line = (x1, y1, x2, y2) => ({
        type: "line",
        shape: { x1, y1, x2, y2 },
        style: { stroke: ink, lineWidth: 1.5 },
      });
      return {
        type: "group",
        children: [
          line(low, middle, high, middle),
          line(low, middle - 5, low, middle + 5),
          line(high, middle - 5, high, middle + 5),
        ],
      };
    },
  };
}
