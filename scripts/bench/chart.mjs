import { BarChart, CustomChart } from "echarts/charts";
import { use } from "echarts/core";

import { axis, cellColor, chartTitle, drawSvg, ink } from "../../dist/report/chart.js";

use([BarChart, CustomChart]);

const width = 1000;
const barHeight = 26;
const groupHeight = 2 * barHeight + 26;
const margins = { top: 136, bottom: 64, left: 250, right: 60 };
const gap = 40;

/**
 * How many times as fast as another program steadytune is, beside what the machine's floor would allow: a bar each, with
 * the spread over the rounds.
 *
 * @param {object} chart
 * @param {string} chart.title
 * @param {string} chart.subtitle
 * @param {string} chart.peer what 1 stands for
 * @param {string[]} chart.labels of the groups of bars
 * @param {{ title: string, groups: { timesAsFast: object, attainable: number }[] }[]} chart.panels two, side by side;
 *   `timesAsFast` with median, min and max
 * @returns {string} SVG
 */
export function speedChart({ title, subtitle, peer, labels, panels }) {
  const height = margins.top + labels.length * groupHeight + margins.bottom;
  const panel = (width - margins.left - margins.right - gap) / 2;
  const lefts = [margins.left, margins.left + panel + gap];
  const longest = Math.max(...panels.flatMap(({ groups }) => groups.map(({ attainable }) => attainable)));
  const end = Math.ceil(longest + 0.8);

  return drawSvg(
    {
      title: [
        chartTitle(title, subtitle),
        ...panels.map(({ title }, i) => ({
          text: title,
          left: lefts[i],
          top: margins.top - 54,
          textStyle: { color: ink, fontSize: 16, fontWeight: 600 },
        })),
      ],
      legend: { top: 10, right: 56, orient: "vertical", textStyle: { color: ink, fontSize: 14 }, data: [ours, floor] },
      grid: panels.map((_, i) => ({ left: lefts[i], top: margins.top, width: panel, bottom: margins.bottom })),
      xAxis: panels.map((_, i) => ({
        type: "value",
        gridIndex: i,
        min: 0,
        max: end,
        interval: end > 8 ? 2 : 1,
        ...axis("", 0),
      })),
      yAxis: panels.map((_, i) => ({
        type: "category",
        gridIndex: i,
        inverse: true,
        data: labels,
        axisTick: { show: false },
        axisLine: { lineStyle: { color: ink } },
        axisLabel: { show: i === 0, color: ink, fontSize: 14, lineHeight: 18 },
      })),
      series: panels.flatMap(({ groups }, i) => [
        bars(
          ours,
          i,
          cellColor(1),
          groups.map(({ timesAsFast }) => timesAsFast.median),
          peer,
        ),
        bars(
          floor,
          i,
          "#c9c9c9",
          groups.map(({ attainable }) => attainable),
          peer,
        ),
        whiskers(
          i,
          groups.map(({ timesAsFast }) => timesAsFast),
        ),
      ]),
    },
    { name: "bench", width, height },
  );
}

const ours = "steadytune";
const floor = "what the machine's floor allows";

function bars(name, panel, color, values, peer) {
  return {
    name,
    type: "bar",
    xAxisIndex: panel,
    yAxisIndex: panel,
    silent: true,
    barWidth: barHeight,
    barGap: "0%",
    itemStyle: { color },
    // steadytune's figures stand behind its whiskers.
    label: {
      show: name === floor,
      position: "right",
      color: ink,
      fontSize: 14,
      formatter: ({ value }) => times(value),
    },
    data: values,
    ...(name === ours && {
      markLine: {
        silent: true,
        symbol: "none",
        data: [{ xAxis: 1 }],
        lineStyle: { color: "#595959", type: "dashed", width: 1.5 },
        label: { formatter: peer, position: "start", color: "#404040", fontSize: 13 },
      },
    }),
  };
}

const times = (value) => `${value.toFixed(1)}x`;

/** From the least ratio of a round to the greatest, over steadytune's bar, and the median behind it. */
function whiskers(panel, spreads) {
  return {
    type: "custom",
    xAxisIndex: panel,
    yAxisIndex: panel,
    silent: true,
    z: 5,
    data: spreads.map(({ median, min, max }, i) => [i, min, max, median]),
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
          {
            type: "text",
            x: Math.max(high, api.coord([api.value(3), 0])[0]) + 6,
            y: middle,
            style: { text: times(api.value(3)), fill: ink, fontSize: 14, verticalAlign: "middle" },
          },
        ],
      };
    },
  };
}
