import { meanStd, metricName } from "./format.js";
import { escaped, section, tableMarkup } from "./markup.js";
import { groupBy, type Half, type ReportCell } from "./report-data.js";
import { pHigherThan, significance, type CellSummary } from "./summary.js";

/** A cell and its numbers. */
export interface Entry {
  cell: ReportCell;
  summary: CellSummary;
}

/**
 * All tasks and recipes of a stage in the layout of the paper's tables, published numbers beside ours; empty where
 * there is one task and nothing published. Tasks go down where there are more tasks than recipes (Table 1), and recipes
 * where there are more recipes (Table 2).
 */
export function overviewTable(entries: readonly Entry[], heading: string, half: Half): string {
  const unique = (names: readonly string[]): string[] => [...new Set(names)];
  const tasks = unique(entries.map(({ cell }) => cell.task));
  const recipes = unique(entries.map(({ cell }) => cell.recipe));
  const published = entries.filter(({ cell }) => cell.published[half] !== undefined);
  if (published.length === 0 && (half === "validation" || tasks.length < 2)) return "";
  const byPlace = new Map(entries.map((entry) => [JSON.stringify([entry.cell.task, entry.cell.recipe]), entry]));
  const marks = half === "test" ? marksOf(entries) : new Map<CellSummary, Marks>();
  const field = (task: string, recipe: string): string => {
    const entry = byPlace.get(JSON.stringify([task, recipe]));
    return entry === undefined ? "" : fieldOf(entry, half, marks.get(entry.summary));
  };
  const metricOf = (task: string): string => {
    const { metric = "" } =
      entries.find(({ cell, summary }) => cell.task === task && summary.metric !== "")?.summary ?? {};
    return `<span class="metric">${escaped(metricName(metric).replace(" (× 100)", ""))}</span>`;
  };
  const taskHead = (task: string): string => `${escaped(task)}<br>${metricOf(task)}`;
  const table =
    tasks.length > recipes.length
      ? tableMarkup(
          ["Task", ...recipes.map(escaped)],
          tasks.map((task) => [taskHead(task), ...recipes.map((recipe) => field(task, recipe))]),
        )
      : tableMarkup(
          ["Recipe", ...tasks.map(taskHead)],
          recipes.map((recipe) => [escaped(recipe), ...tasks.map((task) => field(task, recipe))]),
        );
  const notes = [
    `${half === "test" ? "Test" : "Validation"} score times 100, mean ± sample standard deviation over runs.`,
    ...(half === "test" && recipes.length > 1
      ? [
          "Bold: the best mean of its task, or not significantly below it;",
          `*: significantly above ${baselineOf(entries)}; †: also after Holm's correction (one-tailed Student's t-tests at 5 %).`,
        ]
      : []),
    ...publishedNotes(published, half),
  ];
  return section(heading, table, notes);
}

/** What recipes are compared with: the first of their task, which is not the same where one is for some tasks only. */
function baselineOf(entries: readonly Entry[]): string {
  const firsts = groupBy(entries, ({ cell }) => cell.task).map(([first]) => first!.cell);
  const byRecipe = groupBy(firsts, ({ recipe }) => recipe);
  if (byRecipe.length === 1) return `“${firsts[0]!.recipe}”`;
  const named = byRecipe.map((same) => `“${same[0]!.recipe}” on ${same.map(({ task }) => task).join(", ")}`);
  return `the first recipe of the task (${named.join("; ")})`;
}

interface Marks {
  best: boolean;
  /** "", "*" or "*†". */
  above: string;
}

function marksOf(entries: readonly Entry[]): Map<CellSummary, Marks> {
  const marks = new Map<CellSummary, Marks>();
  for (const group of groupBy(entries, ({ cell }) => cell.task)) {
    const best = levelWithBest(group);
    for (const { summary } of group) {
      const [above, afterHolm] = [isSignificant(summary.pHigher), isSignificant(summary.pHolm)];
      marks.set(summary, { best: best.has(summary), above: above ? (afterHolm ? "*†" : "*") : "" });
    }
  }
  return marks;
}

/** Of the cells of one task those with the best mean or one not significantly below it; none where one alone has a mean. */
export function levelWithBest(entries: readonly Entry[]): Set<CellSummary> {
  const scored = entries.filter(({ summary }) => summary.mean !== null);
  const [best] = [...scored].sort((a, b) => (b.summary.mean ?? 0) - (a.summary.mean ?? 0));
  if (best === undefined || scored.length === 1) return new Set();
  const level = scored.filter(({ cell, summary }) => summary.mean === best.summary.mean || isLevel(best.cell, cell));
  return new Set(level.map(({ summary }) => summary));
}

/** Without enough runs for a test nothing is said to be level with the best. */
function isLevel(best: ReportCell, cell: ReportCell): boolean {
  const p = pHigherThan(best, cell);
  return p !== null && p >= significance;
}

const isSignificant = (p: number | null): boolean => p !== null && p < significance;

function fieldOf({ cell, summary }: Entry, half: Half, marks: Marks | undefined): string {
  const own =
    half === "test"
      ? meanStd({ mean: summary.mean, std: summary.std })
      : meanStd({ mean: summary.validationMean, std: summary.validationStd });
  const said = marks?.best ? `<strong>${own}</strong>` : own;
  const published = cell.published[half];
  const lines = [`${said}${marks?.above ?? ""}`];
  if (published !== undefined) {
    const p = half === "test" ? summary.pPublishedTest : summary.pPublishedValidation;
    const differs = isSignificant(p) ? `<span class="differs">≠</span> ` : "";
    const std = published.std === undefined ? "" : ` ± ${published.std.toFixed(1)}`;
    lines.push(`<span class="published">${differs}${published.mean.toFixed(1)}${std}</span>`);
  }
  return lines.join("<br>");
}

function publishedNotes(published: readonly Entry[], half: Half): string[] {
  if (published.length === 0) return [];
  const sources = [...new Set(published.map(({ cell }) => cell.published[half]!.source))];
  return [
    `Below ours stands what is published (${sources.join(", ")});`,
    "≠: our mean differs from it significantly (two-tailed Welch's t-test at 5 % from its mean, deviation and number of runs).",
  ];
}
