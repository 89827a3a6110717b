import { BoxplotChart, HeatmapChart, LineChart, ScatterChart } from "echarts/charts";
import {
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  TitleComponent,
  VisualMapComponent,
} from "echarts/components";
import { init, use, type ComposeOption } from "echarts/core";
import type { BoxplotSeriesOption, HeatmapSeriesOption, LineSeriesOption, ScatterSeriesOption } from "echarts/charts";
import type {
  GridComponentOption,
  LegendComponentOption,
  TitleComponentOption,
  VisualMapComponentOption,
} from "echarts/components";
import { SVGRenderer } from "echarts/renderers";

use([
  BoxplotChart,
  GridComponent,
  HeatmapChart,
  LegendComponent,
  LineChart,
  MarkLineComponent,
  ScatterChart,
  SVGRenderer,
  TitleComponent,
  VisualMapComponent,
]);

export type ChartOption = ComposeOption<
  | BoxplotSeriesOption
  | GridComponentOption
  | HeatmapSeriesOption
  | LegendComponentOption
  | LineSeriesOption
  | ScatterSeriesOption
  | TitleComponentOption
  | VisualMapComponentOption
>;

/** A figure: its drawing and the words under it. */
export interface Figure {
  /** File name without ending; unique in a report. */
  name: string;
  title: string;
  caption: string;
  svg: string;
}

/** What tells a figure from others of its kind. */
export interface FigureLabel {
  name: Figure["name"];
  /** What its title says that it is about: a task, with its stage where there are several. */
  place: string;
}

/** Okabe and Ito's colors, which people with any color vision tell apart; the yellow, too pale on white, is left out. */
const palette = ["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"] as const;

export function cellColor(index: number): string {
  return palette[index % palette.length] as string;
}

export const ink = "#1a1a1a";
const faint = "#d9d9d9";
const font = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

/**
 * Draws on no screen; the SVG scales to the width that it is given.
 *
 * @param name makes the ids inside the SVG unique among the figures of a page
 */
export function drawSvg(
  option: ChartOption,
  { name, width, height }: { name: string; width: number; height: number },
): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: "#ffffff",
      textStyle: { fontFamily: font, color: ink, fontSize: 15 },
      ...option,
    });
    return withoutInteraction(chart.renderToSVGString({ useViewBox: true }), name);
  } finally {
    chart.dispose();
  }
}

/** Takes out hover rules, data marks and digits that no eye sees, and names clip paths by figure instead of by a count of all charts so far. */
function withoutInteraction(svg: string, name: string): string {
  return svg
    .replaceAll(/<style[^>]*>.*?<\/style>/gs, "")
    .replaceAll(/ (class|ecmeta_\w+|pointer-events)="[^"]*"/g, "")
    .replaceAll(/zr\d+-c/g, `${name}-clip`)
    .replaceAll(/(?<=[ ,"A-Za-z-]\d+\.\d{2})\d+/g, "")
    .replaceAll(/\n+/g, "\n");
}

export function chartTitle(text: string, subtext?: string): TitleComponentOption {
  return {
    text,
    ...(subtext !== undefined && { subtext }),
    left: 12,
    top: 8,
    itemGap: 6,
    textStyle: { color: ink, fontSize: 20, fontWeight: 600 },
    subtextStyle: { color: "#4d4d4d", fontSize: 15 },
  };
}

/** What both axes of all figures share. */
export function axis(name: string, nameGap: number) {
  return {
    name,
    nameLocation: "middle",
    nameGap,
    nameTextStyle: { color: ink, fontSize: 15 },
    axisLabel: { color: ink, fontSize: 14 },
    axisLine: { show: true, lineStyle: { color: ink } },
    axisTick: { show: true, lineStyle: { color: ink } },
    splitLine: { lineStyle: { color: faint } },
  } as const;
}

/** The axis from the tick below `low` to that above `high`, with about `count` ticks. */
export function tickRange(low: number, high: number, count: number): { min: number; max: number; interval: number } {
  const interval = tickStep(high - low, count);
  // A product such as 247 * 0.2 = 49.400000000000006 would be a label.
  const tick = (index: number): number => Number((index * interval).toPrecision(12));
  return { min: tick(Math.floor(low / interval)), max: tick(Math.ceil(high / interval)), interval };
}

/** A distance between two ticks, one of 1, 2 and 5 times a power of ten, that makes about `count` of them. */
export function tickStep(range: number, count: number): number {
  const rough = Math.max(range, 1e-9) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((one) => one * power >= rough) ?? 10;
  return factor * power;
}
