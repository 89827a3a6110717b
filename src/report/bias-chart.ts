import { biasRatio } from "../training/bias-ratio.js";
import { axis, cellColor, chartTitle, drawSvg, ink, type Figure } from "./chart.js";
import { groupBy, placeNames, type ReportCell } from "./report-data.js";

const width = 1000;
const height = 440;

/**
 * How many times larger Adam's update is without bias correction than with it, by step (paper, Figure 1); null where no
 * recipe leaves the correction out.
 */
export function biasChart(name: string, cells: readonly ReportCell[]): Figure | null {
  const biased = cells.filter(({ config }) => config?.optimizer.biasCorrection === false);
  const { betas = [] } = biased[0]?.config?.optimizer ?? {};
  if (biased.length === 0) return null;
  const placeName = placeNames(cells);
  const ends = groupBy(
    biased
      .filter(({ runs }) => runs.length > 0)
      .map((cell) => ({ place: placeName(cell), steps: cell.runs[0]!.result.steps })),
    ({ steps }) => String(steps),
  ).map((group) => ({ steps: group[0]!.steps, places: [...new Set(group.map(({ place }) => place))] }));
  const last = Math.max(...ends.map(({ steps }) => steps));
  if (ends.length === 0 || last < 2) return null;
  const decades = Math.ceil(Math.log10(last));
  // Evenly spaced on the axis, which is logarithmic, and each step once.
  const steps = [...new Set(Array.from({ length: 121 }, (_, i) => Math.round(last ** (i / 120))))];
  const title = "Size of the update without bias correction, over that with it";
  const svg = drawSvg(
    {
      title: chartTitle(title),
      grid: { left: 84, right: 60, top: 64, bottom: 64 },
      xAxis: {
        type: "log",
        ...axis("Optimizer step (logarithmic)", 36),
        ...{ min: 1, max: last },
        splitLine: { show: false },
        axisLabel: {
          color: ink,
          fontSize: 14,
          formatter: String,
          customValues: Array.from({ length: decades }, (_, i) => 10 ** i),
        },
        axisTick: { customValues: Array.from({ length: decades }, (_, i) => 10 ** i) },
      },
      yAxis: { type: "value", ...axis("Ratio of the updates", 44), min: 0, max: 7, interval: 1 },
      series: [
        {
          type: "line",
          silent: true,
          symbol: "none",
          lineStyle: { color: cellColor(0), width: 2.5 },
          data: steps.map((step) => [step, biasRatio(step, betas)]),
          markLine: {
            silent: true,
            symbol: "none",
            label: { show: false },
            lineStyle: { color: "#595959", type: "dashed", width: 1.5 },
            data: [{ yAxis: 1 }],
          },
        },
        {
          type: "scatter",
          silent: true,
          symbolSize: 11,
          itemStyle: { color: cellColor(1) },
          data: ends.map(({ steps: end }) => [end, biasRatio(end, betas)]),
          z: 5,
        },
      ],
    },
    { name, width, height },
  );
  const said = ends.map(
    ({ steps: end, places }) => `${places.join(", ")}: step ${end}, ${biasRatio(end, betas).toFixed(2)}`,
  );
  const caption = [
    `Computed from the betas ${betas.join(" and ")}, eps left aside: (1 - beta1^t) / sqrt(1 - beta2^t).`,
    `Dots mark where the runs without correction end (${said.join("; ")}); the dashed line is no difference.`,
  ].join(" ");
  return { name, title, caption, svg };
}
