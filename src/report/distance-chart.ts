import { bandOf, bandSeries, legendOf, mostBands, rangeCaption, runsOf, stepAxis, type Band } from "./band-chart.js";
import { axis, drawSvg, chartTitle, ink, tickRange, type ChartOption, type Figure, type FigureLabel } from "./chart.js";
import type { ReportCell } from "./report-data.js";

const width = 1000;
const columns = 4;
const panel = { height: 150, gapX: 26, gapY: 62 };
const margins = { left: 76, right: 24, bottom: 58 };

/**
 * How far blocks move from where fine-tuning began, by step: a panel per block (paper, Figure 7: a block of each
 * quarter of the encoder; Figures 15 to 18: every block).
 *
 * @param options.every every block, embeddings and head included, or four of them
 * @returns null without diagnostics that are finite, and where all blocks are those four anyway
 */
export function distanceChart(
  { name, place }: FigureLabel,
  all: readonly ReportCell[],
  { every }: { every: boolean },
): Figure | null {
  const cells = all.filter(({ runs }) => runs.some(({ curves }) => Object.keys(curves.distances).length > 0));
  const known = [...new Set(cells.flatMap(({ runs }) => runs.flatMap(({ curves }) => Object.keys(curves.distances))))];
  const depth = known.filter((block) => block.startsWith("blocks.")).length;
  if (cells.length === 0) return null;
  const quarters = [1, 2, 3, 4].map((quarter) => `blocks.${Math.ceil((quarter * depth) / 4) - 1}`);
  const shown = every ? known : known.filter((block) => quarters.includes(block));
  if (shown.length === 0 || (every && known.length <= columns)) return null;
  const bands = shown.map((block) =>
    cells.map((cell): Band => ({
      name: cell.recipe,
      points: bandOf(cell.runs, ({ curves }) => curves.distances[block] ?? []),
    })),
  );
  const values = bands.flat().flatMap(({ points }) => points.map(({ high }) => high));
  if (values.length === 0) return null;
  const banded = !every && cells.length <= mostBands;
  const rows = Math.ceil(shown.length / columns);
  const legend = legendOf(
    cells.map(({ recipe }) => recipe),
    { left: margins.left, right: 100, top: 44, width },
  );
  const top = 118 + legend.extra;
  const wide = (width - margins.left - margins.right - (columns - 1) * panel.gapX) / columns;
  const places = shown.map((_, i) => ({
    left: margins.left + (i % columns) * (wide + panel.gapX),
    top: top + Math.floor(i / columns) * (panel.height + panel.gapY),
  }));
  // All 0 where blocks are frozen.
  const highest = Math.max(...values) || 1;
  const title = `Distance to the start on ${place}${every ? ", all blocks" : ""}`;
  const option: ChartOption = {
    title: [
      chartTitle(title),
      ...shown.map((block, i) => ({
        text: blockName(block),
        left: places[i]!.left,
        top: places[i]!.top - 28,
        textStyle: { color: ink, fontSize: 15, fontWeight: 500 as const },
      })),
    ],
    legend: legend.option,
    grid: places.map((place) => ({ ...place, width: wide, height: panel.height })),
    xAxis: shown.map((_, i) => ({
      ...stepAxis(bands.flat(), 3),
      gridIndex: i,
      name: i + columns >= shown.length ? "Step" : "",
      nameGap: 30,
    })),
    yAxis: shown.map((_, i) => ({
      type: "value" as const,
      ...axis(i % columns === 0 ? "L2 distance" : "", 46),
      gridIndex: i,
      ...tickRange(0, highest, 4),
      axisLabel: { show: i % columns === 0, color: ink, fontSize: 14 },
    })),
    series: bands.flatMap((ofBlock, i) =>
      ofBlock.flatMap((band, j) => bandSeries(band, { index: j, of: cells.length, panel: i, band: banded })),
    ),
  };
  const caption = [
    runsOf(cells),
    rangeCaption(banded),
    "Shown is",
    "the L2 distance between a block's parameters and their values when fine-tuning began, re-initialised ones included;",
    "blocks are counted from the input.",
  ].join(" ");
  const height = top + rows * panel.height + (rows - 1) * panel.gapY + margins.bottom;
  return { name, title, caption, svg: drawSvg(option, { name, width, height }) };
}

/** "blocks.0" is block 1. */
function blockName(block: string): string {
  const [, index] = /^blocks\.(\d+)$/.exec(block) ?? [];
  return index === undefined ? block.charAt(0).toUpperCase() + block.slice(1) : `Block ${Number(index) + 1}`;
}
